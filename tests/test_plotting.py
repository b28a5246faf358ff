"""Pictures: what is written in them, that nothing lies on anything else (measured), files, and errors."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_python

import fastbp
from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle, PathPatch, Polygon
from matplotlib.transforms import Bbox

from fastbp.plotting import (
    Picture,
    check_path,
    decision_regions,
    descents,
    graphs,
    histories,
    plot_decision_regions,
    plot_descent,
    plot_graph,
    plot_history,
)

LONG = "a name that is far too long for a label"


def car(name: str = "paid") -> Variable:
    price, number, tax = Variable(20.0, "price"), Variable(2.0, "number"), Variable(1.1, "tax")
    return (price * number * tax).named(name)


def network(seed: int = 0) -> Variable:
    rng = np.random.default_rng(seed)
    W1, W2 = Variable(rng.normal(size=(2, 50)), "W1"), Variable(rng.normal(size=(50, 4)), "W2")
    hidden = affine(Variable(rng.normal(size=(16, 2)), "X"), W1, Variable(np.zeros(50), "b1")).named("H").relu()
    loss = softmax_cross_entropy(affine(hidden, W2, Variable(np.zeros(4), "b2")), rng.integers(0, 4, 16))
    return (loss + 0.5 * Variable(0.01, "l2") * ((W1 * W1).sum() + (W2 * W2).sum())).named("loss")


def random_graph(operations: int, seed: int) -> Variable:
    """Numbers and, for odd seeds, arrays; shared variables, long edges, long names. Ends in a few more operations."""
    rng = np.random.default_rng(seed)

    def given() -> Variable:
        value = rng.normal(size=(4, 3)) if seed % 2 and rng.random() < 0.6 else rng.normal()
        return Variable(value, str(rng.choice(["", "x", "b1", LONG])))

    made = [given() for _ in range(3)]
    for k in range(operations - 4):
        recent = made[-4:] if rng.random() < 0.6 else made
        a, b = (recent[rng.integers(len(recent))] if rng.random() < 0.85 else given() for _ in range(2))
        z = [a + b, a * b, a * a, a.relu(), a.mean(), a - b][rng.integers(6)]
        made.append(z.mean() if np.abs(z.value).max() > 1e3 else z.named(str(rng.choice(["", f"h{k}", LONG]))))
    used = {id(operand) for variable in made for operand in variable.operands}
    result, *others = (variable for variable in made if id(variable) not in used)
    for other in others:
        result = result + other
    return result.mean().named("result")


GRAPHS = {"car": car, "network": network, "one": lambda: Variable(3.0, "x"), "long": lambda: car(LONG),
          **{f"{n} operations, seed {seed}": lambda n=n, seed=seed: random_graph(n, seed)
             for n, seed in [(10, 0), (10, 1), (20, 2), (20, 3), *((30, seed) for seed in range(4, 8))]}}  # fmt: skip


def texts(picture: Any) -> list[str]:
    return [text.get_text() for axes in picture.axes for text in axes.texts]


# graphs: what is written


def test_both_passes_of_the_car() -> None:
    paid = car()
    paid.backward()
    written = texts(plot_graph(paid))
    assert sorted(written) == sorted(
        ["price", "20", "← 2.2", "number", "2", "← 22", "×", "40", "← 1.1", "tax", "1.1", "← 40", "×"]
        + ["paid", "44", "← 1", "above:", "value", "   below:", "← derivative of paid"]
    )


def test_without_backward_there_are_values_only() -> None:
    written = texts(plot_graph(car()))
    assert not any("←" in text or "below" in text for text in written)
    assert {"20", "2", "40", "1.1", "44", "above:", "value"} <= set(written)


def test_operations_and_arrays() -> None:
    loss = network()
    loss.backward()
    written = texts(plot_graph(loss))
    assert {"affine", "ReLU", "softmax\nloss", "sum", "×", "+", "(16, 2)", "(2, 50)"} <= set(written)
    (W2,) = (variable for variable in ordered(loss) if variable.name == "W2")
    assert f"← ‖{np.linalg.norm(W2.grad):.3g}‖" in written


@pytest.mark.parametrize(
    ("graph", "label"),
    [
        (lambda x: x * x, ["← 3 + 3 = 6"]),
        (lambda x: x * 1.1 + x * 2.2, ["← 1.1 + 2.2 = 3.3"]),
        (lambda x: x * x - x, ["← 3 + 3 - 1 = 5"]),
        (lambda x: x * -1.25 + x * 2.345678 + x, ["← -1.25 + 2.346 + 1", "= 2.09568"]),
        (lambda x: x + x + x + x, ["← 4"]),
    ],
)
def test_what_comes_back_to_a_number_is_shown_as_a_sum(graph: Any, label: list[str]) -> None:
    result = graph(Variable(3.0, "x"))
    result.backward()
    assert set(label) <= set(texts(plot_graph(result)))


def test_no_derivatives_of_another_result() -> None:
    x = Variable(3.0, "x")
    part = x * x
    part.backward()
    (part + x).backward()
    assert not any("←" in text for text in texts(plot_graph(part)))


def test_names_are_cut_and_taken_as_they_are() -> None:
    written = texts(plot_graph(Variable(1.0, "a $x_1$\n<&>") * Variable(1.0, LONG)))
    assert {"a $x_1$ <&>", "a name that is far…"} <= set(written)


# graphs: nothing lies on anything else


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_overlaps(name: str) -> None:
    result = GRAPHS[name]()
    result.backward()
    picture = plot_graph(result)
    renderer = FigureCanvasAgg(picture).get_renderer()
    (axes,) = picture.axes
    lines = [p.get_transform().transform_path(p.get_path()) for p in axes.patches if isinstance(p, PathPatch)]
    heads = np.array([p.get_window_extent(renderer).extents for p in axes.patches if isinstance(p, Polygon)])
    circles = [p for p in axes.patches if isinstance(p, Circle)]
    boxes = np.array([text.get_window_extent(renderer).extents for text in axes.texts])
    assert len(circles) == sum(bool(variable.operation) for variable in ordered(result))
    assert (overlaps(boxes, boxes) == np.eye(len(boxes), dtype=bool)).all()
    assert not overlaps(boxes, heads).any()
    for low, high in ((boxes[:, :2], boxes[:, 2:]), (heads[:, :2], heads[:, 2:])):
        assert (low > 0).all() and (high < picture.bbox.size).all()
    for box in boxes:
        assert not any(line.intersects_bbox(Bbox.from_extents(*box), filled=False) for line in lines)
    drawn = np.concatenate([points_of(line) for line in lines])
    for circle in circles:
        centre, radius = axes.transData.transform(circle.center), circle.radius * picture.dpi
        inside = np.array([np.allclose(text.get_position(), circle.center) for text in axes.texts])
        assert (farthest(boxes[inside], centre) < radius + 1).all() and inside.sum() == 1
        assert (nearest(boxes[~inside], centre) > radius + 1).all()
        assert (np.hypot(*(drawn - centre).T) > radius - 1).all()  # lines end at circles, none goes through one
        assert (centre > radius).all() and (centre + radius < picture.bbox.size).all()
    for a, b in combinations(circles, 2):
        assert np.hypot(*np.subtract(a.center, b.center)) > a.radius + b.radius


def overlaps(a: Any, b: Any) -> Any:
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    return (low < high).all(axis=-1)


def nearest(boxes: Any, point: Any) -> Any:
    return np.hypot(*(np.clip(point, boxes[:, :2], boxes[:, 2:]) - point).T)


def farthest(boxes: Any, point: Any) -> Any:
    return np.hypot(*np.maximum(abs(boxes[:, :2] - point), abs(boxes[:, 2:] - point)).T)


def points_of(line: Any) -> Any:
    """Points all along a path, its gaps left out."""
    parts = line.cleaned(curves=False, simplify=False)
    is_line = parts.codes[1:-1] == line.LINETO
    begin, end = parts.vertices[:-2][is_line], parts.vertices[1:-1][is_line]
    return (begin + np.linspace(0, 1, 30)[:, None, None] * (end - begin)).reshape(-1, 2)


def test_every_use_of_a_variable_is_a_line_with_a_head() -> None:
    result = random_graph(30, 5)
    picture = plot_graph(result)
    uses = sum(len(variable.operands) for variable in ordered(result))
    assert sum(isinstance(patch, Polygon) for patch in picture.axes[0].patches) == uses + 1


def test_a_deep_graph() -> None:
    x = Variable(1.0)
    for _ in range(100):
        x = x + 1.0
    assert texts(plot_graph(x)).count("+") == 100


def test_a_style_sheet_of_the_user_does_not_reach_in() -> None:
    import matplotlib

    plain = plot_graph(car())._repr_svg_()
    with matplotlib.rc_context({"text.color": "red", "font.size": 30, "savefig.facecolor": "black"}):
        assert plot_graph(car())._repr_svg_() == plain


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


@pytest.mark.parametrize("which", ["graph", "history", "regions", "descent"])
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
    for module in (graphs, histories, decision_regions, descents):
        monkeypatch.setattr(module, "Picture", None)
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
