"""Predict one column of a table from the others, stop early, and draw the losses.

pip install 'fastbp[sklearn,plot]'
python docs/examples/regression.py
"""

import numpy as np
from sklearn.datasets import load_diabetes

import fastbp
from fastbp.plotting import plot_history

X, y = load_diabetes(return_X_y=True)  # 442 patients, 10 measurements, and the progress of their disease
order = np.random.default_rng(0).permutation(len(X))
train, held_out, test = np.split(order, [300, 370])

# Bring inputs and targets to order one.
mean, spread = y[train].mean(), y[train].std()
target = (y - mean) / spread
net = fastbp.MLP(
    (10, 64, 64, 1), activation="gelu", loss="huber", seed=0,
    input_shift=X[train].mean(axis=0), input_scale=1 / X[train].std(axis=0),
)  # fmt: skip
history = net.fit(
    X[train], target[train], epochs=500, batch_size=32, optimizer="adamw", learning_rate=0.001, dropout=0.1,
    validation_data=(X[held_out], target[held_out]), early_stopping=30,
)  # fmt: skip
missed = np.abs(net.predict(X[test]) * spread + mean - y[test]).mean()
print(f"stopped after {len(history.loss)} epochs")
print(f"mean error {missed:.0f}; predicting {mean:.0f} for all would give {np.abs(y[test] - mean).mean():.0f}")
print(f"R^2 {net.score(X[test], target[test]):.2f}")
plot_history(history, "regression.svg")
print("the losses are drawn in regression.svg")
