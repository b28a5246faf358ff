"""How networks and results show themselves: on one line, and in notebooks as well-formed HTML, escaped."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import fastbp
from fastbp import representation

EVIL = "<script>alert('&')</script>"


def parsed(html: str) -> ElementTree.Element:
    """Return the tree of HTML that is well-formed, small, and has no scripts, styles or colours of its own."""
    tree = ElementTree.fromstring(html)
    for each in tree.iter():
        assert each.tag.rpartition("}")[2] not in {"script", "style", "link", "img"}
        assert not {name for name in each.attrib if name.startswith("on") or name in {"style", "href"}}
    assert not re.search(r"#[0-9a-f]{3}|rgb|white|black", html)
    assert len(html) < 20_000
    return tree


def cells(tree: ElementTree.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]


def points(html: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'points="(.*?)"', html)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())] for line in lines]


# ---- pieces ----


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\n b", "a b"), (1.23456, "1.235"), (np.float32(0.1), "0.1"), (np.int64(12345), "12345"), (True, "True"),
     (None, "None"), (math.nan, "nan"), (np.arange(6).reshape(2, 3), "array([[0, 1, 2], [3, 4, 5]])"),
     ("x" * 99, "x" * 59 + "…")],
)  # fmt: skip
def test_one_line(value: Any, shown: str) -> None:
    assert representation.one_line(value) == shown


def test_a_table_is_escaped_and_shortened() -> None:
    assert cells(parsed(representation.html("", representation.table([EVIL], [[EVIL]])))) == [[EVIL], [EVIL]]
    many = representation.html("", representation.table(["a"], ([i] for i in range(25))))
    assert len(cells(parsed(many))) == 21 and "and 5 more" in many


def test_a_sparkline_is_the_curve_upside_down() -> None:
    ((first, *_, last),) = points(representation.sparkline("loss", [4.0, 2.0, 3.0]))
    assert first == (2, 2) and last == (238, 20)
    ((_, low, _),) = points(representation.sparkline("loss", [4.0, 2.0, 3.0]))
    assert low == (120, 38)


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, math.inf, 2.0]])
def test_nothing_is_drawn_through_less_than_two_numbers(values: list[float]) -> None:
    assert representation.sparkline("loss", values) == ""


def test_a_sparkline_of_difficult_numbers() -> None:
    parsed(representation.sparkline(EVIL, [1.0, 2.0]))
    assert len(points(representation.sparkline("loss", [1.0, 2.0, math.nan, 3.0, 4.0]))) == 2
    ((first, last),) = points(representation.sparkline("loss", [-1.7e308, 1.7e308]))
    assert (first[1], last[1]) == (38, 2)
    assert {y for _, y in points(representation.sparkline("loss", [5.0] * 9))[0]} == {20.0}
    ((*_, last),) = points(representation.sparkline("loss", [1.0] * 99_999 + [0.0]))
    assert last == (238, 38)


# ---- networks and results ----


def test_a_network() -> None:
    net = fastbp.MLP((3, 20, 2), embeddings={2: (5, 3)}, seed=0)
    net.feature_names, net.class_names = ("a", "b", EVIL), (EVIL, "&")
    assert cells(parsed(net._repr_html_())) == [
        ["layer", "inputs", "outputs", "activation", "parameters"],
        [f"embedding of {EVIL}", "5 levels", "3", "", "15"],
        ["1", "5", "20", "relu", "120"],
        ["2", "20", "2", "none, softmax_cross_entropy", "42"],
        ["all", "", "", "", str(net.parameters.size)],
    ]
    assert "outputs: &lt;script&gt;" in net._repr_html_() and "<svg" not in net._repr_html_()
    X, y = fastbp.datasets.quadrants(40, seed=0)
    net = fastbp.MLP((2, 3, 4), seed=0)
    net.fit(X, y, epochs=2)
    parsed(net._repr_html_())
    assert "<svg" in net._repr_html_()
    wide = fastbp.MLP((2, *[3] * 400, 4), input_scale=np.arange(2) + 1.0)
    parsed(wide._repr_html_())


def test_a_search_and_a_cross_validation() -> None:
    X, y = fastbp.datasets.quadrants(60, seed=0)
    grid = [{"learning_rate": [0.1], "optimizer": ["sgd"]}, {"learning_rate": [np.float64(0.2)], "l2": [0.5]}]
    found = fastbp.search(grid, X, y, sizes=(2, 3, 4), folds=2, epochs=2)
    best = representation.arguments(found.best)
    assert repr(found) == f"Search(2 candidates, best score {found.score:.4g}: {best})"
    assert {"learning_rate=0.1, optimizer='sgd'", "learning_rate=0.2, l2=0.5"} >= {best}
    head, first, second = cells(parsed(found._repr_html_()))
    assert sorted(head) == sorted(["learning_rate", "optimizer", "l2", "score", "deviation", "epochs", "seconds"])
    assert [dict(zip(head, row, strict=True))["score"] for row in (first, second)] == [
        f"{each['score']:.4g}" for each in found.results
    ]
    found.results[1]["error"] = EVIL
    assert EVIL in cells(parsed(found._repr_html_()))[2]

    folds = fastbp.cross_validate({"sizes": (2, 3, 4)}, X, y, folds=2, epochs=3)
    assert repr(folds) == f"CrossValidation(2 folds, score {folds.score:.4g} ± {folds.deviation:.2g})"
    for fold, row in enumerate(cells(parsed(folds._repr_html_()))[1:]):
        loss = folds.histories[fold].loss[-1]
        assert row == [str(fold), "30", "30", "3", f"{loss:.4g}", f"{folds.scores[fold]:.4g}"]


def of_squares(gradient: Any) -> Any:
    return fastbp.gradcheck(lambda x: (x**2).sum(), gradient, [1.0, -3.0])


def test_a_gradient_check() -> None:
    right, wrong = of_squares([2.0, -6.0]), of_squares([2.0, 6.0])
    assert repr(wrong) == f"<{wrong}>" and "\n" not in repr(wrong) + repr(right)
    assert "gradcheck passed" in right._repr_html_()
    _, counts, head, place = cells(parsed(wrong._repr_html_()))
    assert counts == ["2", "1", "0", "0", "0"]
    assert (head, place) == (["wrong", "analytic", "numeric"], ["at [1]", "6", "-6"])
    drawn = iter(range(10**6))
    random = fastbp.gradcheck(lambda x: x.sum() + next(drawn), [1.0], [1.0])
    assert "not deterministic" in "".join(parsed(random._repr_html_()).itertext())
    hidden = fastbp.gradcheck(lambda x: 1e17 + x.sum(), [1.0], [1.0])
    _, counts, (what, *_), _ = cells(parsed(hidden._repr_html_()))
    assert (counts, what) == (["0", "0", "0", "1", "0"], "worst")
    assert "hides the answer" in hidden._repr_html_()
