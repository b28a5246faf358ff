"""Move from scikit-learn by one line, the import. The rest of the program stays as it is.

pip install 'fastbp[sklearn]'
python docs/examples/from_scikit_learn.py
"""

import time

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# from sklearn.neural_network import MLPClassifier
from fastbp import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

model = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(100,), max_iter=300, random_state=0))
start = time.perf_counter()
model.fit(X_train, y_train)
print(f"fitted in {time.perf_counter() - start:.2f} s, score {model.score(X_test, y_test):.3f}")
print("cross-validated:", cross_val_score(model, X, y, cv=3).round(3))

# These arguments are new: dropout, class weights, any score to stop by, your own validation set, a time limit, float32.
network = MLPClassifier(
    (64, 64), activation="gelu", dropout=0.1, class_weight="balanced", dtype="float32", early_stopping=True,
    scoring="neg_log_loss", time_budget=5.0, random_state=0,
)  # fmt: skip
network.fit(X_train / 16, y_train, X_val=X_test / 16, y_val=y_test)
print(f"stopped after {network.n_iter_} epochs, score {network.score(X_test / 16, y_test):.3f}")
