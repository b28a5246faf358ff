"""Read handwritten digits: a network with dropout and Adam, stopped early, saved and loaded.

python docs/examples/digits.py
"""

import fastbp
from fastbp.learning_rates import Cosine

X, y = fastbp.datasets.load_digits()  # 1,797 pictures of 8 x 8 pixels with values from 0 to 16
train, rest = fastbp.datasets.stratified_split(y, 0.4, seed=0)
held_out, test = rest[::2], rest[1::2]

net = fastbp.MLP((64, 128, 64, 10), activation="silu", seed=0, input_scale=1 / 16)
history = net.fit(
    X[train], y[train], epochs=200, batch_size=64, optimizer="adam",
    learning_rate=Cosine(0.003, warmup=0.05), l2=1e-4, dropout=0.2,
    validation_data=(X[held_out], y[held_out]), early_stopping=25,
)  # fmt: skip
print(f"{len(history.loss)} epochs in {sum(history.seconds):.2f} s")
print(f"{net.score(X[test], y[test]):.1%} of {len(test)} unseen digits are right")

net.save("digits.npz")
again = fastbp.load("digits.npz")
print("the loaded network predicts the same:", (again.predict(X[test]) == net.predict(X[test])).all())
