"""Hyper-parameter search over a cluster: scikit-learn's, by joblib's dask backend; it needs nothing of fastbp's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")

# In a process of its own: a cluster leaves threads behind, and its libraries have warnings of theirs.
SEARCH = """
import joblib, numpy as np
from distributed import Client, LocalCluster
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from fastbp import MLPClassifier

if __name__ == "__main__":
    X, y = make_classification(200, 6, random_state=0)
    grid = {"alpha": [1e-4, 1e4], "dropout": [0.0, 0.25]}
    def search():
        estimator = MLPClassifier((10,), max_iter=15, random_state=0, learning_rate_init=0.01)
        return GridSearchCV(estimator, grid, cv=2).fit(X, y)
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster):
        with joblib.parallel_config("dask"):
            found = search()
        tasks = len(cluster.scheduler.transition_log)
    here = search()
    scores = [each.cv_results_["mean_test_score"] for each in (found, here)]
    assert scores[0].tobytes() == scores[1].tobytes(), scores
    assert found.best_params_ == here.best_params_ and found.best_params_["alpha"] == 1e-4
    assert tasks > 8, tasks  # the cluster has done it: 4 candidates in 2 folds
    print("searched", len(scores[0]))
"""


@pytest.mark.slow
def test_search_over_a_dask_cluster(tmp_path: Path) -> None:
    script = tmp_path / "search.py"  # a file: the workers import it
    script.write_text(SEARCH, encoding="utf-8")
    process = subprocess.run([sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True,
                             timeout=120, cwd=tmp_path)  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.startswith("searched 4")
