"""`verify` finds faults planted in a copy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from support.processes import PACKAGE, planted, python

COMMAND = "import sys; from fastbp.cli import main; sys.exit(main(['verify']))"


# One check in one dtype: half to compile, and no wait for those that find nothing.
ALONE = """
import sys
from fastbp import verify
verify.DTYPES = "float64",
(check,) = verify.verify(print, names=[sys.argv[1]])
sys.exit(0 if check else 1)
"""
LONG = [pytest.mark.long, pytest.mark.skipif(os.environ.get("FASTBP_LONG") != "1", reason="needs FASTBP_LONG=1")]
STEP = """time, phases = chain([*operations.forward(), *loss, *operations.backward(inputs=False)], model)
        squares = """
EARLY_UPDATE = """last = operations.weight_gradients(op.PARAMETERS, 8, False)[-1]
        time, phases = chain([*operations.forward(), *loss], model)
        phases.append([[last.part(model, 0, last.rows, 0, last.columns)]])
        phases += chain(operations.backward(inputs=False), model)[1] if network.layers > 1 else []
        squares = """
SUM_UP = "        updates[-1][-1].append(operations.sum_up("
WITHOUT_THE_LAST = """        is_last = lambda it: it["code"] == op.GEMM and it["c"] == last.c[1]
        updates = [[[it for it in strand if not is_last(it)] for strand in phase] for phase in updates]
        updates[-1][-1].append(operations.sum_up("""
PENALTY = """            phases[0][number % len(phases[0])].append(square)
        more, updates = operations.updates(form)
"""
LATE_PENALTY = """            pass
        more, updates = operations.updates(form)
        updates.append([list(squares)])
"""


class Fault(NamedTuple):
    """What is planted: files, the texts that are replaced, and a check that must fail for it."""

    changes: tuple[tuple[str, str, str], ...]
    caught_by: str


def fault(file: str, old: str, new: str, caught_by: str) -> Fault:
    return Fault(((file, old, new),), caught_by)


NARROW = "narrow networks"
FAULTS = {
    "a compiled step knows no labels": fault(
        "kernels/narrow/losses.py", "where_equal(label, this, subtract(share, one), share)", "share", NARROW
    ),
    "a compiled step forgets the block before": fault(
        "kernels/narrow/backward.py", "rows), rows_ld, block.rows, left, right, block.first",
        "rows), rows_ld, block.rows, left, right, 0", NARROW,
    ),
    "a compiled step leaves the biases out": fault(
        "kernels/narrow/forward.py", "layer.fan_in + 1, layer.fan_out", "layer.fan_in, layer.fan_out", NARROW
    ),
    "a compiled step's biases do not move": fault(
        "kernels/narrow/updates.py", "(copy_rows, 0, layer.fan_in + 1,", "(copy_rows, 0, layer.fan_in,", NARROW
    ),
    "a compiled step punishes biases": fault(
        "kernels/narrow/updates.py", "layer.fan_out, 0", "layer.fan_out, op.PENALTY", NARROW
    ),
    "a compiled step adds classes in another order": fault(
        "kernels/narrow/losses.py", "        while distance > 0:", "        while distance > 1:", NARROW
    ),
    "a compiled step ignores weights": fault(
        "kernels/narrow/losses.py", "block.width if block.row[op.WEIGHTED] else 0", "0", NARROW
    ),
    "a compiled step drops by another hash": fault(
        "kernels/narrow/backward.py", "yield drop_units, index - 1,", "yield drop_units, index,", NARROW
    ),
    "threads that share a step leave tiles out": fault(
        "kernels/narrow/backward.py", "of.low, greatest(begin, middle), end,", "of.low, end, end,", NARROW
    ),
    "threads that share a step leave the biases": fault(
        "kernels/narrow/updates.py", "if begin < end and end > fan_in:", "if end < begin:", NARROW
    ),
    "compiled predictions write a row too few": fault(
        "kernels/narrow/functions.py", "for r in range(block.rows):", "for r in range(1, block.rows):", NARROW
    ),
    "the SGD formula has the wrong sign": fault(
        "kernels/updates.py", "fma(-learning_rate, fma", "fma(learning_rate, fma", "ReLU and SGD update"
    ),
    "the ReLU's mask is missing": fault(
        "kernels/microkernel.py", "if epilogue.code & op.RELU_MASK:", "if epilogue.code > 99:", "numeric gradients"
    ),
    "packing is off by one": fault(
        "kernels/packing.py", "(advance(at, c)), advance(to, c))\n            at,",
        "(advance(at, c - 1 if c else 0)), advance(to, c))\n            at,", "affine layers",
    ),
    "a later stretch drops the partial sum": fault(
        "kernels/gemm.py", "depth - k0), resume != 0 or k0 > 0", "depth - k0), resume != 0", "affine layers"
    ),
    "the last strip's mask is one lane short": fault(
        "kernels/packing.py", "advance(at, c), left - c)", "advance(at, c), left - c - 1)", "affine layers"
    ),
    "an end that is worked on aside lacks a column": fault(
        "kernels/packing.py", "advance(source, r * source_step + c), columns - c)",
        "advance(source, r * source_step + c), columns - c - 1)", "affine layers",
    ),
    "an end that is worked on aside is stored one column short": Fault(
        (
            ("kernels/packing.py", "range(whole, columns)", "range(whole, columns - 1)"),  # without masks, or with
            ("kernels/packing.py", "advance(to, whole), columns - whole)", "advance(to, whole), columns - whole - 1)"),
        ),
        "affine layers",
    ),
    "an end that is worked on aside resumes no sums": fault(
        "kernels/microkernel.py", "if resume:\n        copy_rows(", "if resume and rows > 1:\n        copy_rows(",
        "affine layers",
    ),
    "the panels of later rows begin with the first": fault(
        "kernels/gemm.py", "packed_panels(product, blocking, stretch, i, middle, MR, blocking.panels)",
        "packed_panels(product, blocking, stretch, product.i0, middle - i + product.i0, MR, blocking.panels)",
        "blockings",
    ),
    "later strips are not packed again": fault(
        "kernels/gemm.py", "strips_of_b(product, blocking, stretch, j, je)",
        "strips_of_b(product, blocking, stretch, j0, je - j + j0)", "blockings",
    ),
    "few rows leave out the last entries of the sums": fault(
        "kernels/by_rows.py", "range(whole, product.depth)", "range(whole, whole)", "affine layers"
    ),
    "dX is computed from the updated W": Fault(
        (("program/passes.py", STEP, EARLY_UPDATE), ("program/passes.py", SUM_UP, WITHOUT_THE_LAST)), "fused update"
    ),
    "the penalty is that of the updated W": fault("program/passes.py", PENALTY, LATE_PENALTY, "reference training"),
    "partial sums overwrite W before its update": fault(
        "kernels/gemm.py", "aside = (epilogue.code & op.SGD) != 0 and depth > kc", "aside = False", "fused update"
    ),
    "a short last batch is divided by the full size": fault(
        "training/loop.py", "sizes[whole :: whole + 1] = left", "pass", "reference training"
    ),
    "a step fetches one row only": fault(
        "kernels/gather.py", "advance(x, order[i] * columns)", "advance(x, order[0] * columns)", "reference training"
    ),
    "the second epoch of a call begins too early": fault(
        "kernels/steps.py", "number + 1, first + call[op.LAST]", "number + 1, first", "reference training"
    ),
    "the bias is not added": fault(
        "kernels/microkernel.py", "if epilogue.code & op.ADD_BIAS:", "if epilogue.code > 99:", "affine layers"
    ),
    "L2 is applied to biases": fault(
        "kernels/entries.py", "workspace, operands[op.COEFFICIENTS][co.LEARNING_RATE], number(c, 0.0))",
        "workspace, operands[op.COEFFICIENTS][co.LEARNING_RATE], operands[op.COEFFICIENTS][co.L2])",
        "reference training",
    ),
    "L2 is missing in the gradient": fault(
        "kernels/updates.py", "return fma(l2, w, dw)", "return dw", "numeric gradients"
    ),
    "L2 is missing in the update": fault(
        "kernels/updates.py", "fma(-learning_rate, fma(l2, w, dw), w)", "fma(-learning_rate, dw, w)",
        "ReLU and SGD update",
    ),
    "the label's column is wrong, few classes": fault(
        "kernels/softmax.py", "workspace[label * vl + r] -= one", "workspace[(label + 1) % classes * vl + r] -= one",
        "softmax with loss",
    ),
    "the label's column is wrong, many classes": fault(
        "kernels/softmax.py", "dz[labels[i]] = own", "dz[classes - 1 - labels[i]] = own", "softmax with loss"
    ),
    "column sums miss a row": fault(
        "kernels/reductions.py", "for i in range(rows):\n        total = tile_add_block",
        "for i in range(rows - 1):\n        total = tile_add_block", "affine layers",
    ),
    "the mean loss is divided wrongly": fault(
        "functional.py", "sums[0] / n)", "sums[0] / (n + 1))", "softmax with loss"
    ),
    "a transposed square swaps the wrong lane": fault(
        "kernels/packing.py", "else size + i - distance for i", "else size + i for i", "affine layers"
    ),
    "a split among threads skips a row": fault(
        "program/products.py", "return [(begin, end) for begin, end in",
        "return [(begin, end - (end < total)) for begin, end in", "threads and splits",
    ),
    "exp is good to four digits only": fault(
        "kernels/formulas.py", "EXP_TERMS = {32: 7, 64: 13}", "EXP_TERMS = {32: 4, 64: 4}", "softmax with loss"
    ),
    "the fused update rounds otherwise": fault(
        "kernels/tile.py", "updates.sgd.write(w, dw, learning_rate, l2))", "w - learning_rate * (dw + l2 * w))",
        "fused update",
    ),
    "the gradient of inputs lacks their scale": fault(
        "model/evaluation.py", "inputs *= model.input_scale\n    if l2:", "pass\n    if l2:", "numeric gradients"
    ),
    "GELU's derivative has another density": fault(
        "kernels/activations.py", "1.0 / math.sqrt(2.0 * math.pi)", "1.0 / math.sqrt(2.0)", "numeric gradients"
    ),
    "SiLU's derivative has the wrong sign": fault(
        "kernels/activations.py", "fma(z, larger_share, -1.0)", "fma(-z, larger_share, -1.0)", "numeric gradients"
    ),
    "leaky ReLU's slope does not come back": fault(
        "kernels/activations.py", "select(y <= 0.0, slope * dy, dy)", "select(y <= 0.0, dy * 0.01, dy)",
        "numeric gradients",
    ),
    "an activation's derivative is taken from its output": fault(
        "kernels/activations.py", "gelu_backward, keeps_input=True", "gelu_backward", "numeric gradients"
    ),
    "dropout's scale is missing on the way back": Fault(
        (
            ("program/network_operations.py", "self._drop(layer, here, here)", "self._drop(layer + 64, here, here)"),
            ("kernels/elementwise.py", "unsigned(layer + 1)", "unsigned(layer % 64 + 1)"),
            (
                "kernels/elementwise.py",
                "    for i in range(rows):\n        here,",
                "    factor = factor if layer < 64 else number(x, 1.0)\n    for i in range(rows):\n        here,",
            ),
        ),
        "numeric gradients",
    ),
    "dropout is missing on the way back": fault(
        "program/network_operations.py", "links.append(self._drop(layer, here, here))", "pass", "numeric gradients"
    ),
    "dropout forgets on which row it is": fault(
        "kernels/elementwise.py", "first_word(first_row + i, ", "first_word(i, ", "threads and splits"
    ),
    "dropout forgets on which step it is": fault(
        "kernels/steps.py", " + unsigned(step.number) * unsigned(STEP_STEP)", "", "reference training"
    ),
    "dropout forgets which part of the rows it has": fault(
        "model/evaluation.py", "of_rows = (key + begin * STREAM) % 2**64", "of_rows = key", "reference gradients"
    ),
    "the rows' weights are not applied to the gradient": fault(
        "kernels/elementwise.py", "dz[i * columns + j] *= weights[i]", "pass", "numeric gradients"
    ),
    "the rows' weights are not applied to the loss": fault(
        "kernels/elementwise.py", "losses[i] *= weights[i]", "pass", "numeric gradients"
    ),
    "weights are normalised by the number of rows": fault(
        "model/row_weights.py", "sums = weights.sum(axis=1, dtype=np.float64)",
        "sums = np.full(len(weights), float(weights.shape[1]))", "numeric gradients",
    ),
    "a loss's share is that of a mean": fault(
        "kernels/losses.py", "self.factor / outputs if self.mean else self.factor", "self.factor / outputs",
        "numeric gradients",
    ),
    "a mean squared error is halved": fault(
        "kernels/losses.py", "*SQUARED, factor=2.0)", "*SQUARED)", "numeric gradients"
    ),
    "Huber's delta does not arrive": fault(
        "model/model.py", "value: Any = self.constants[constant.name]", "value: Any = constant.default",
        "numeric gradients",
    ),
    "Huber's slope is not bounded below": fault(
        "kernels/losses.py", "select(difference < -delta, -delta, difference)", "difference",
        "activations and losses",
    ),
    "a count of 0 has a logarithm": fault(
        "kernels/losses.py", "select(t > 0.0, fma(t, log.write(t) - z, excess), excess)",
        "fma(t, log.write(t) - z, excess)", "activations and losses",
    ),
    "Adam's bias is not corrected": fault(
        "optimizers.py", "learning_rate * root / (1.0 - np.power(self.beta_1, steps))", "learning_rate * root",
        "optimizers' steps",
    ),
    "Adam's epsilon is not corrected": fault(
        "optimizers.py", "self.epsilon * root", "self.epsilon", "reference training"
    ),
    "AdamW's biases decay": fault(
        "program/network_operations.py", "| op.DECAY if weights else 0", "| op.DECAY if weights else op.DECAY",
        "optimizers' steps",
    ),
    "Nesterov does not look ahead": fault(
        "optimizers.py", "learning_rate * self.momentum", "learning_rate", "optimizers' steps"
    ),
    "clipping's norm is one without biases": fault(
        "program/network_operations.py",
        "of(biases, 0, fan_out, False)", "pass",
        "optimizers' steps",
    ),
    "clipping adds the penalty twice": fault(
        "program/network_operations.py", "PENALTY if step.penalised and not step.clipped",
        "PENALTY if step.penalised", "optimizers' steps",
    ),
    "an embedding takes the vector of another level": fault(
        "kernels/embedding.py", "advance(table, level * width)", "advance(table, (levels - 1 - level) * width)",
        "reference gradients",
    ),
    "an embedding takes the level of the first row": fault(
        "kernels/embedding.py", "advance(x, row_at(i, fetched, order) * ldx), levels",
        "advance(x, row_at(0, fetched, order) * ldx), levels", "reference training",
    ),
    "columns beside an embedding are not fetched by the order": fault(
        "kernels/embedding.py", "advance(x, row_at(i, fetched, order) * ldx), advance(out, i * ldo)",
        "advance(x, i * ldx), advance(out, i * ldo)", "reference training",
    ),
    "a table's gradient knows the last row of a level only": fault(
        "kernels/embedding.py", "add_entries(width, advance(d", "copy_entries(width, advance(d", "numeric gradients"
    ),
    "a table's gradient keeps that of the step before": fault(
        "kernels/embedding.py", "if not resume:", "if resume:", "reference training"
    ),
    "a share of a table misses its last level": fault(
        "kernels/embedding.py", "level < end:", "level < end - 1:", "numeric gradients"
    ),
    "a wide vector lacks its last entries": fault(
        "kernels/embedding.py", "for j in range(whole, count):  # one", "for j in range(whole, whole):  # one",
        "reference gradients",
    ),
    "tables are not penalised": fault(
        "program/parameters.py", "return (*weights, *tables)", "return tuple(weights)", "reference gradients"
    ),
    "a table's place among the inputs is the first one's": fault(
        "program/network_operations.py", "c=(op.ACTIVATIONS, self.at.inputs + first, width)",
        "c=(op.ACTIVATIONS, self.at.inputs + layout.plain, width)", "reference gradients",
    ),
    "every step has the first one's rates": fault(
        "kernels/steps.py", "step.number * call[op.STEP_BYTES + operand]",
        "(step.number if operand != op.COEFFICIENTS else 0) * call[op.STEP_BYTES + operand]",
        "optimizers' steps",
    ),
    "a state loses its last lane": fault(
        "kernels/applied.py", "store_vector(builder, dtype, vector.value, start, mask)",
        "store_vector(builder, dtype, vector.value, start, first_lanes(builder, dtype, builder.sub(count, I64(1))))",
        "optimizers' steps",
    ),
}  # fmt: skip
SHORT = ("the ReLU's mask is missing", "a later stretch drops the partial sum", "a split among threads skips a row",
         "a compiled step forgets the block before")  # fmt: skip


def test_every_fault_has_its_place() -> None:
    """Most are planted in long runs only, where a place that has changed would long go unseen."""
    for name, (changes, _) in FAULTS.items():
        texts: dict[str, str] = {}
        for file, old, new in changes:
            text = texts.get(file) or (PACKAGE / file).read_text(encoding="utf-8")
            assert text.count(old) == 1, (name, file)
            texts[file] = text.replace(old, new)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SHORT else LONG) for name in FAULTS]
)
def test_a_planted_fault_is_found(name: str, tmp_path: Path) -> None:
    changes, caught_by = FAULTS[name]
    environment = planted(tmp_path, *changes[0])
    for file, old, new in changes[1:]:
        path = tmp_path / "fastbp" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
    if name == SHORT[0]:
        done = python(COMMAND, env=environment, timeout=600.0)
        assert re.search(r"^\d+ of \d+ checks FAILED: ", done.stdout, re.MULTILINE), done.stdout
    else:
        done = python(ALONE, caught_by, env=environment, timeout=600.0)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    failed = re.findall(r"^ *(\S.*?)  +float\d\d .* FAILED", done.stdout, re.MULTILINE)
    assert caught_by in failed
