"""Ask a network what its predictions depend on: importances, partial dependence, SHAP values.

pip install 'fastbp[sklearn]' shap
python docs/examples/explain.py
"""

import numpy as np
from sklearn.datasets import load_wine
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp import MLPClassifier

data = load_wine()  # 178 wines of three growers, 13 measurements
X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, random_state=0)
network = MLPClassifier((50,), learning_rate_init=0.01, max_iter=1000, random_state=0)
model = make_pipeline(StandardScaler(), network).fit(X_train, y_train)
print(f"{model.score(X_test, y_test):.1%} of {len(X_test)} wines are told apart")

# How much worse is the network if the values of one column are shuffled?
importances = permutation_importance(model, X_test, y_test, n_repeats=20, random_state=0).importances_mean
order = np.argsort(-importances)[:4]
for column in order:
    print(f"without {data.feature_names[column]}: {importances[column]:.1%} fewer right")

# How does the probability of the first grower change with the most important measurement, the others as they are?
found = partial_dependence(model, X_train, [int(order[0])], response_method="predict_proba", grid_resolution=5)
for value, share in zip(found["grid_values"][0], found["average"][0], strict=True):
    print(f"{data.feature_names[order[0]]} {value:.0f}: first grower {share:.0%}")

# What does each measurement add to the probabilities of one wine?
try:
    import shap
except ImportError:
    print("pip install shap for its values")
else:
    explain = shap.Explainer(model.predict_proba, X_train, feature_names=data.feature_names, seed=0)
    values = explain(X_test[:1], silent=True)[0, :, y_test[0]]
    for column in np.argsort(-np.abs(values.values))[:4]:
        print(f"{data.feature_names[column]} adds {values.values[column]:+.2f}")
