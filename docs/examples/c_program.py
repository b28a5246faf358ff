"""Export a network as a C file, compile it, and compare its answers with those of this processor.

python docs/examples/c_program.py
"""

import ctypes
import shutil
import subprocess
import sys

import numpy as np

import fastbp

if shutil.which("cc") is None:
    sys.exit("c_program.py needs a C compiler with the name cc")

X, y = fastbp.datasets.load_digits()
X = X.astype(np.float32)
net = fastbp.MLP((64, 512, 256, 10), activation="gelu", seed=0, input_scale=1 / 16)
net.fit(X[:1500], y[:1500], epochs=20, optimizer="adam")

net.to_c("digits.c")
options = ["-std=c99", "-ffp-contract=off", "-O2", "-shared", "-fPIC"]
subprocess.run(["cc", *options, "digits.c", "-o", "digits.so"], check=True)
library = ctypes.CDLL("./digits.so")

test, labels = X[1500:], y[1500:]
logits, probabilities = np.empty((len(test), 10), np.float32), np.empty((len(test), 10), np.float32)
classes = np.empty(len(test), np.int64)
for i, x in enumerate(test):
    pointers = [ctypes.c_void_p(row.ctypes.data) for row in (x, logits[i], probabilities[i])]
    library.fastbp_logits(pointers[0], pointers[1])
    library.fastbp_predict(pointers[0], pointers[2])
    classes[i] = library.fastbp_class(pointers[0])

print(f"the C program tells {100 * (classes == labels).mean():.1f}% of {len(test)} digits")
print(f"{(classes != net.predict(test)).sum()} of its classes differ from those of fastbp")
largest = np.abs(net.logits(test)).max()
print(f"logits differ by at most {np.abs(logits - net.logits(test)).max():.1e}, where the largest is {largest:.1f}")
print(f"probabilities differ by at most {np.abs(probabilities - net.predict_proba(test)).max():.1e}")
