"""Programs that run in an environment with an installed wheel; each prints JSON."""

# Whether the package has a library, and one with every function.
ASK = """
import json, sys
from pathlib import Path
import fastbp
from fastbp.kernels import cache, functions, shipped
print(json.dumps([str(Path(fastbp.__file__).parent), shipped.holds("fastbp_run"),
                  all(shipped.holds(function.symbol) for function in functions.every()), "numba" in sys.modules]))
"""
# A first fit: its parameters, and which compilers it imported, and which modules.
FIT = """
import hashlib, json, sys
import numpy as np
import fastbp
from fastbp.program import cost_model

cost_model.POOL_START = 0  # else work as short as this would be done by one thread
rng = np.random.default_rng(0)
X, labels = rng.random((300, 120), np.float32), rng.integers(0, 10, 300)
net = fastbp.MLP((120, 200, 90, 10), seed=0)
net.fit(X, labels, epochs=1, l2=0.01, validation_data=(X, labels))
net.predict(X)
print(json.dumps([hashlib.sha256(net.parameters.tobytes()).hexdigest(),
                  sorted({"numba", "llvmlite"} & set(sys.modules)), sorted(sys.modules)]))
"""
# Losses, optimizers and activations, with options, for a DTYPE; whether a library served them.
FITS = """
import hashlib, json, sys
import numpy as np
import fastbp
from fastbp.kernels import shipped

rng = np.random.default_rng(0)
X = rng.normal(size=(203, 13))
TARGETS = {"softmax_cross_entropy": rng.integers(0, 5, 203), "binary_cross_entropy": rng.integers(0, 2, (203, 5)),
           "poisson_deviance": rng.poisson(2, (203, 5)), "": rng.normal(size=(203, 5))}
LOSSES = ["softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber",
          "quantile", "poisson_deviance"]
OPTIMIZERS = ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "lion"]
ACTIVATIONS = ["relu", "logistic", "tanh", "leaky_relu", "gelu", "silu", "elu"]
results = []
for i, (loss, optimizer, activation) in enumerate(zip(LOSSES, OPTIMIZERS, ACTIVATIONS, strict=True)):
    net = fastbp.MLP((13, 37, 21, 5), [activation, "mish"], loss, dtype=DTYPE, seed=i)
    y = TARGETS.get(loss, TARGETS[""])
    options = {"dropout": 0.2 * (i % 2), "max_grad_norm": 1.0 if i % 3 == 0 else None}
    weights = None if i % 4 else np.linspace(0.1, 2, 203)
    history = net.fit(X, y, epochs=2, batch_size=32, optimizer=optimizer, learning_rate=0.01, l2=1e-4,
                      sample_weight=weights, **options)
    gradient = net.gradient(X, y, l2=0.01)
    digest = hashlib.sha256(net.parameters.tobytes())
    for array in (history.loss, net.outputs(X), gradient.inputs, *gradient.weights):
        digest.update(np.asarray(array).tobytes())
    results.append(digest.hexdigest())
print(json.dumps([results, shipped.holds("fastbp_run"), "numba" in sys.modules]))
"""
# The stamp as the sources are, and with each file edited.
EDIT = """
import json
from pathlib import Path
from fastbp.kernels import cache
digests = [cache.package_stamp().digest]
for file in sorted(Path(cache.__file__).parent.glob("*.py")):
    content = file.read_bytes()
    file.write_bytes(content + b"#")
    digests.append(cache.package_stamp().digest)
    file.write_bytes(content)
print(json.dumps([digests, cache.package_stamp().digest]))
"""
