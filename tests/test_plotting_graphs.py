"""Pictures of graphs: what is written in them, and that nothing lies on anything else (measured)."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from fastbp.graph import Variable, affine, ordered, softmax_cross_entropy

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle, PathPatch, Polygon
from matplotlib.transforms import Bbox

from fastbp.plotting import plot_graph
from support.lanes import in_lanes
from support.pictures import car

LONG = "a name that is far too long for a label"


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
@pytest.mark.parametrize("name", in_lanes(GRAPHS, fast=list(GRAPHS)[:6]))
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
