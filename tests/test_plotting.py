"""Pictures of training, decision regions and descents; files, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from support.processes import run_python

pytest.importorskip("matplotlib")
from fastbp import plotting
from fastbp.plotting import Picture, check_path, plot_decision_regions, plot_descent, plot_graph, plot_history
from support.lanes import in_lanes
from support.pictures import car


# training
def test_history_with_validation() -> None:
    history = fastbp.History(loss=[2.0, 1.0, 0.5], validation_loss=[2.1, 1.2, 0.9], validation_score=[0.3, 0.5, 0.7])
    left, right = plot_history(history).axes
    assert [line.get_label() for line in left.lines] == ["training", "validation"]
    assert left.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert list(left.lines[1].get_ydata()) == history.validation_loss
    assert list(right.lines[0].get_ydata()) == history.validation_score
    assert (left.get_xlabel(), left.get_ylabel()) == ("epoch", "loss (mean cross-entropy)")
    assert right.get_ylabel() == "share predicted right"
    assert left.lines[0].get_linestyle() != left.lines[1].get_linestyle()


def test_losses_in_axes_of_ones_own(tmp_path: Path) -> None:
    picture = Picture()
    axes = picture.add_subplot()
    history = fastbp.History(loss=[2.0, 1.0], validation_loss=[2.1, 1.2], validation_score=[0.3, 0.5])
    assert plot_history(history, tmp_path / "x.svg", axes=axes) is picture
    assert [line.get_label() for line in axes.lines] == ["training", "validation"]
    assert picture.axes == [axes]
    assert (tmp_path / "x.svg").exists()


@pytest.mark.parametrize("epochs", [1, 2, 7, 100])
def test_epochs_are_whole_numbers(epochs: int) -> None:
    (axes,) = plot_history(fastbp.History(loss=[1.0] * epochs)).axes
    ticks = axes.get_xticks()
    assert ticks.size
    assert (ticks == np.round(ticks)).all()
    assert (axes.lines[0].get_marker() == "o") is (epochs <= 15)


def test_decision_regions_are_those_of_the_network() -> None:
    net = fastbp.MLP((2, 2), seed=0)
    net.weights[0][...], net.biases[0][...] = [[-9.0, 9.0], [0.0, 0.0]], 0.0  # class 1 where feature 1 is positive
    net.class_names = "no", "yes"
    X = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    picture = plot_decision_regions(net, X, X[:, 0] > 0)
    (axes,) = picture.axes
    pixels = np.asarray(axes.images[0].get_array())
    no, yes = pixels[100, 10], pixels[100, -10]
    assert no[2] > no[0] and yes[0] > yes[2]  # blue, and orange
    assert [len(line.get_xdata()) for line in axes.lines] == [(X[:, 0] <= 0).sum(), (X[:, 0] > 0).sum()]
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["no", "yes"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("feature 1", "feature 2")


def test_decision_regions_as_small_multiples(tmp_path: Path) -> None:
    X, y = fastbp.datasets.quadrants(30, seed=0)
    picture = Picture()
    for axes in picture.subplots(1, 2):
        figure = plot_decision_regions(fastbp.MLP((2, 4), seed=0), X, y, tmp_path / "two.png", axes=axes)
        assert figure is picture
        assert len(axes.images) == 1 and axes.get_xlabel() == "feature 1"
    assert not picture.legends
    assert (tmp_path / "two.png").stat().st_size > 1000
    part = Picture().subfigures(1, 2)[0]
    assert plot_decision_regions(fastbp.MLP((2, 4), seed=0), X, y, axes=part.subplots()) is part.canvas.figure


def test_decision_regions_of_many_classes_and_points() -> None:
    rng = np.random.default_rng(0)
    picture = plot_decision_regions(fastbp.MLP((2, 11), seed=0), rng.normal(size=(1000, 2)), rng.integers(0, 11, 1000))
    looks = {(line.get_color(), line.get_marker()) for line in picture.axes[0].lines}
    assert len(looks) == 11
    assert isinstance(picture, Picture)
    assert len(picture._repr_svg_()) < 300_000


def test_decision_regions_of_one_point_and_probabilities() -> None:
    (axes,) = plot_decision_regions(fastbp.MLP((2, 2), seed=0), [[1.0, 1.0]], [[0.2, 0.8]]).axes
    assert [len(line.get_xdata()) for line in axes.lines] == [0, 1]


def descent(rate: float, steps: int = 12) -> list[float]:
    return [(1 - 2 * rate) ** k for k in range(steps + 1)]


def test_descents() -> None:
    paths = {f"rate {rate}": descent(rate) for rate in (0.1, 0.9, 1.05)}
    panels = plot_descent(lambda w: w * w, paths).axes
    assert [axes.get_title() for axes in panels] == list(paths)
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    for axes, w in zip(panels, paths.values(), strict=True):
        curve, walk, first, last = axes.lines
        assert list(walk.get_xdata()) == w
        np.testing.assert_allclose(walk.get_ydata(), np.square(w))
        assert (first.get_xdata()[0], last.get_xdata()[-1]) == (w[0], w[-1])
        np.testing.assert_allclose(curve.get_ydata(), np.square(curve.get_xdata()))
    assert (panels[0].get_xlabel(), panels[0].get_ylabel()) == ("w", "J(w)")


FAR = [*descent(3.0, 400), np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("paths", [{"": FAR}, {"a": descent(0.1), "b": FAR}, {"": [2.0]}, {"": [5.0, 5.0, 4.0]}])
def test_the_view_stays_readable(paths: Any) -> None:
    picture = plot_descent(lambda w: w * w, paths)
    low, high = picture.axes[0].get_xlim()
    assert low < paths[next(iter(paths))][0] < high
    assert high - low < 100
    assert picture._repr_png_()


def test_a_constant_function() -> None:
    assert plot_descent(lambda w: 1.0, {"": [0.0, 1.0]})._repr_png_()


# files
def pictures() -> dict[str, Any]:
    paid = car()
    paid.backward()
    X, y = fastbp.datasets.quadrants(40, seed=0)
    return {
        "graph": lambda path=None: plot_graph(paid, path),
        "history": lambda path=None: plot_history(fastbp.History(loss=[2.0, 1.0]), path),
        "regions": lambda path=None: plot_decision_regions(fastbp.MLP((2, 4), seed=0), X, y, path),
        "descent": lambda path=None: plot_descent(lambda w: w * w, {"": descent(0.1)}, path),
    }


@pytest.mark.parametrize("which", in_lanes(["graph", "history", "regions", "descent"], fast=["graph", "history"]))
def test_files_are_the_same_each_time(which: str, tmp_path: Path) -> None:
    draw = pictures()[which]
    for ending, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("SVG", b"<?xml")):
        first, second = tmp_path / f"1.{ending}", str(tmp_path / f"2.{ending}")
        picture = draw(first)
        assert isinstance(picture, Picture)
        draw(second)
        assert first.read_bytes() == Path(second).read_bytes()
        assert first.read_bytes().startswith(start)
    assert (tmp_path / "1.svg").read_text(encoding="utf-8") == picture._repr_svg_()
    assert (tmp_path / "1.png").read_bytes() == picture._repr_png_()
    assert "<text" not in picture._repr_svg_()  # letters are outlines: no font is needed


def test_neither_pyplot_nor_a_backend() -> None:
    run_python("""
import sys, matplotlib
from fastbp.graph import Variable
from fastbp.plotting import plot_graph
plot_graph(Variable(1.0) + 1.0)._repr_svg_()
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams._get_backend_or_none() is None
""")


def test_without_matplotlib() -> None:
    run_python("""
import sys
sys.modules["matplotlib"] = None
try:
    import fastbp.plotting
except ModuleNotFoundError as error:
    assert str(error) == "fastbp.plotting: needs matplotlib: pip install 'fastbp[plot]'", error
    assert error.name == "matplotlib"
else:
    raise AssertionError("no error")
""")


# errors
@pytest.mark.parametrize("name", ["picture.gif", "picture", "svg", "a.svg.gz", ".svg/x"])
def test_endings(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / name, str(tmp_path / name)):
        with pytest.raises(ValueError, match=r"path: got '.*', expected .* \.svg, \.png or \.pdf"):
            check_path(path)
        with pytest.raises(ValueError, match="path"):
            plot_graph(car(), path)
    assert not list(tmp_path.iterdir())


def test_paths() -> None:
    check_path(None)
    check_path("here.PDF")
    with pytest.raises(TypeError, match="path: got bytes, expected str"):
        check_path(b"x.svg")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="path: its folder does not exist"):
        check_path("no/such/folder/x.svg")


def test_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotting, "Picture", None)
    for draw in pictures().values():
        with pytest.raises(ValueError, match="path"):
            draw("x.gif")


def test_wrong_arguments() -> None:
    net, X, y = fastbp.MLP((2, 3), seed=0), np.zeros((4, 2)), [0, 1, 2, 0]
    wrong: list[tuple[type[Exception], str, Any]] = [
        (TypeError, "result: got float, expected a fastbp.graph.Variable", lambda: plot_graph(1.0)),
        (TypeError, "history: got list, expected a fastbp.History", lambda: plot_history([1.0])),
        (ValueError, "history: got no epochs", lambda: plot_history(fastbp.History())),
        (TypeError, "net: got str, expected a fastbp.MLP", lambda: plot_decision_regions("net", X, y)),
        (ValueError, "net: .* 3 features, expected one of 2", lambda: plot_decision_regions(fastbp.MLP((3, 2)), X, y)),
        (ValueError, r"X: got shape \(4, 3\)", lambda: plot_decision_regions(net, np.zeros((4, 3)), y)),
        (ValueError, "X: got nan", lambda: plot_decision_regions(net, np.full((4, 2), np.nan), y)),
        (ValueError, r"y: got shape \(3,\)", lambda: plot_decision_regions(net, X, y[:3])),
        (ValueError, "y: got 3", lambda: plot_decision_regions(net, X, [0, 1, 2, 3])),
        (TypeError, "function: got 1", lambda: plot_descent(1, {"": [1.0]})),
        (ValueError, "function: got no finite number", lambda: plot_descent(lambda w: np.nan, {"": [1.0]})),
        (TypeError, "paths: got list", lambda: plot_descent(abs, [1.0])),
        (ValueError, "paths: got none", lambda: plot_descent(abs, {})),
        (ValueError, r"paths\['a'\]: got no numbers", lambda: plot_descent(abs, {"a": []})),
        (ValueError, r"paths\['a'\]: got nan", lambda: plot_descent(abs, {"a": [np.nan, 1.0]})),
        (TypeError, r"paths\['a'\]: got dtype", lambda: plot_descent(abs, {"a": ["x"]})),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()


def test_a_freed_graph() -> None:
    paid = car()
    paid.backward()
    paid.free()
    with pytest.raises(ValueError, match="freed"):
        plot_graph(paid)
