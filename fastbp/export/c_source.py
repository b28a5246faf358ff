"""Networks as one C99 file without dependencies: `MLP.to_c`.

The file computes what the kernels compute on a target without fused multiply-adds, with vectors of `LANES`, in the same
order and by the same formulas; so compiled by the letter of C99 it returns the same bits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.activations import Activation
from ..kernels.formulas import exp
from ..model.model import Model
from ..model.whole_file import replacing
from ..version import __version__
from .c_formulas import exact, function

Array = NDArray[Any]
VECTOR_BYTES = 16  # of the target whose bits these are: softmax adds up one vector's lanes side by side
NUMBERS_IN_A_LINE = 8

GUARDS = """\
#include <float.h>
#include <stdint.h>

#if defined __FAST_MATH__ || !defined FLT_EVAL_METHOD || FLT_EVAL_METHOD != 0
#error "fastbp: compile for arithmetic that rounds every result to its type, without -ffast-math"
#endif
#if defined __clang__ || !defined __GNUC__
#pragma STDC FP_CONTRACT OFF
#endif
"""

# What formulas call, each written only if it is called.
HELPERS = {
    "to_word": """\
static word to_word(real number)
{
    pattern same;
    same.number = number;
    return same.bits;
}
""",
    "to_real": """\
static real to_real(word bits)
{
    pattern same;
    same.bits = bits;
    return same.number;
}
""",
    "shift_right": """\
static word shift_right(word bits, int count) /* the sign is kept */
{
    return bits >> (BITS - 1) ? ~(~bits >> count) : bits >> count;
}
""",
    "whole": """\
static real whole(word bits) /* with its sign */
{
    return bits >> (BITS - 1) ? -(real)(~bits + 1u) : (real)bits;
}
""",
}

AFFINE = """\
/* y = x W + b with W (inputs, outputs): each sum over ascending inputs, and its bias last. */
static void affine(int inputs, int outputs, const real *x, const real *W, const real *b, real *restrict y)
{
    for (int j = 0; j < outputs; j++)
        y[j] = 0;
    for (int i = 0; i < inputs; i++, W += outputs)
        for (int j = 0; j < outputs; j++)
            y[j] += x[i] * W[j];
    for (int j = 0; j < outputs; j++)
        y[j] += b[j];
}
"""

LARGER = """\
static real larger(real a, real b)
{
    return a > b ? a : b;
}
"""

SOFTMAX = """\
static void softmax(real *z)
{
    real top = z[0], total = 0;
    for (int j = 1; j < FASTBP_OUTPUTS; j++)
        top = larger(z[j], top);
    for (int j = 0; j < FASTBP_OUTPUTS; j++) {
        z[j] = formula_exp(z[j] - top);
        total += z[j];
    }
    const real factor = 1 / total;
    for (int j = 0; j < FASTBP_OUTPUTS; j++)
        z[j] *= factor;
}
"""

SOFTMAX_OF_MANY = """\
/* The sum goes lane by lane of a vector, and then over the lanes in a tree. */
static void softmax(real *z)
{
    real tops[LANES], totals[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        tops[lane] = z[lane];
        totals[lane] = 0;
    }
    for (int j = LANES; j < FASTBP_OUTPUTS; j++)
        tops[j % LANES] = larger(z[j], tops[j % LANES]);
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            tops[lane] = larger(tops[lane], tops[lane + half]);
    for (int j = 0; j < FASTBP_OUTPUTS; j++) {
        z[j] = formula_exp(z[j] - tops[0]);
        totals[j % LANES] += z[j];
    }
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            totals[lane] += totals[lane + half];
    const real factor = 1 / totals[0];
    for (int j = 0; j < FASTBP_OUTPUTS; j++)
        z[j] *= factor;
}
"""

CLASS = """\
int fastbp_class(const real *x)
{
    real z[FASTBP_OUTPUTS];
    int best = 0;
    fastbp_logits(x, z);
    for (int j = 1; j < FASTBP_OUTPUTS; j++)
        if (z[j] > z[best])
            best = j;
    return best;
}
"""


def write(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model as a C99 file, which is replaced as a whole; the arguments and errors are those of `MLP.to_c`."""
    if model.embeddings:
        raise ValueError("to_c: got a network with embeddings, expected one whose inputs are all numbers")
    arrays = [model.parameters, *(each for each in (model.input_shift, model.input_scale) if each is not None)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("to_c: got parameters with NaN or infinity, expected finite numbers")
    with replacing(path) as file:
        for part in _parts(model):
            file.write(f"{part}\n".encode())


def _parts(model: Model) -> Iterator[str]:
    bits = 8 * model.dtype.itemsize
    kind, output = ("float" if bits == 32 else "double"), model.loss.output
    yield _comment(model, kind)
    yield GUARDS
    yield f"#define FASTBP_INPUTS {model.sizes[0]}\n#define FASTBP_OUTPUTS {model.sizes[-1]}\n"
    yield f"typedef {kind} real;\ntypedef uint{bits}_t word;\ntypedef union {{ real number; word bits; }} pattern;"
    yield f"enum {{ BITS = {bits}, LANES = {VECTOR_BYTES * 8 // bits} }};\n"
    yield "\n".join(f"{signature};" for signature, _ in _functions(model, kind)) + "\n"
    yield from _names("fastbp_class_names", "FASTBP_OUTPUTS", model.class_names)
    yield from _names("fastbp_feature_names", "FASTBP_INPUTS", model.feature_names)
    for name, array in _arrays(model):
        yield from _array(name, array, bits)
    formulas = "\n".join(_formulas(model, bits))
    yield from (text for name, text in HELPERS.items() if f"{name}(" in formulas)
    yield formulas
    yield AFFINE
    if output is None:
        yield LARGER
        yield SOFTMAX if model.sizes[-1] * bits <= VECTOR_BYTES * 8 else SOFTMAX_OF_MANY
    yield "\n".join(_logits(model))
    yield "\n".join(_predict(output))
    if output is None:
        yield CLASS


def _comment(model: Model, kind: str) -> str:
    """Return the head of the file: what it is, how it is compiled, what it offers."""
    given = model.activation
    activations = (given,) * len(model.network.activations) if isinstance(given, str) else given
    layers = " - ".join(map(str, model.sizes))
    functions = "\n".join(f" *     {signature};\n *         {text}" for signature, text in _functions(model, kind))
    return f"""\
/* A network of fastbp {__version__} in C99, without dependencies.
 *
 * {layers}, hidden activations: {", ".join(activations) or "none"}; loss: {model.loss.name}
 *
{functions}
 *
 * x has FASTBP_INPUTS numbers, before any scaling, and out has room for FASTBP_OUTPUTS, elsewhere. One thread at a time
 * may call, since the layers' outputs lie in static buffers. Compile by -std=c99 -ffp-contract=off: every sum and
 * product is then rounded on its own, and the results are, bit for bit, those of fastbp on a processor without fused
 * multiply-adds.
 */
"""


def _functions(model: Model, kind: str) -> list[tuple[str, str]]:
    """Return the signature of each function of the file, and what it does."""
    output = model.loss.output
    outputs = "their softmax" if output is None else f"each as {_ascii(output.formula)}"
    found = [
        (f"void fastbp_logits(const {kind} *x, {kind} *out)", "the outputs of the last layer"),
        (f"void fastbp_predict(const {kind} *x, {kind} *out)", f"what these stand for, as MLP.outputs: {outputs}"),
    ]
    if output is None:
        found.append((f"int fastbp_class(const {kind} *x)", "the index of the largest, the lowest on ties"))
    return found


def _ascii(formula: str) -> str:
    return formula.replace("\N{MINUS SIGN}", "-")


# ---- arrays ----


def _arrays(model: Model) -> Iterator[tuple[str, Array]]:
    """Return the constant arrays of the file by their names."""
    for name in ("input_shift", "input_scale"):
        if (array := getattr(model, name)) is not None:
            yield name, array
    for layer, (W, b) in enumerate(zip(model.weights, model.biases, strict=True), 1):
        yield f"weights_{layer}", W
        yield f"biases_{layer}", b


def _array(name: str, array: Array, bits: int) -> Iterator[str]:
    """Write an array as one of its numbers, in C order."""
    numbers = array.ravel()
    yield f"static const real {name}[{numbers.size}] = {{"
    for begin in range(0, numbers.size, NUMBERS_IN_A_LINE):
        line = numbers[begin : begin + NUMBERS_IN_A_LINE].tolist()
        yield f"    {', '.join(exact(number, bits) for number in line)},"
    yield "};\n"


def _names(name: str, count: str, texts: Sequence[str] | None) -> Iterator[str]:
    """Write names as an array of C strings in UTF-8."""
    if texts is not None:
        yield f"extern const char *const {name}[{count}];\nconst char *const {name}[{count}] = {{"
        yield from (f'    "{_escaped(text)}",' for text in texts)
        yield "};\n"


def _escaped(text: str) -> str:
    """Return a C string's characters: an octal escape has at most three digits, and no '?' begins a trigraph."""
    return re.sub(rb'[^ -~]|["\\?]', lambda found: b"\\%03o" % found[0][0], text.encode()).decode("ascii")


# ---- functions ----


def _formulas(model: Model, bits: int) -> Iterator[str]:
    """Write each function of one number that the network needs."""
    output = model.loss.output
    rows = {activation.name: activation for activation in model.network.activations}
    rows |= {} if output is None else {output.name: output}
    functions = [(row.name, row.value.write, _constants(model, row)) for row in rows.values() if row.value is not None]
    if output is None:
        functions.append(("exp", exp.write, []))
    for name, formula, constants in functions:
        yield "\n".join(function(f"formula_{name}", formula, constants, bits)) + "\n"


def _constants(model: Model, row: Activation) -> list[Any]:
    return [model.constants[constant.name] for constant in row.constants]


def _logits(model: Model) -> Iterator[str]:
    """Write the forward pass: scaled inputs and hidden layers lie in two buffers by turns."""
    shift, scale = model.input_shift is not None, model.input_scale is not None
    scaled = shift or scale
    widths = [*([model.sizes[0]] if scaled else []), *model.sizes[1:-1]]
    yield "void fastbp_logits(const real *x, real *out)\n{"
    for number, sizes in enumerate((widths[::2], widths[1::2])):
        if sizes:
            yield f"    static real buffer_{number}[{max(sizes)}];"
    source = "x"
    if scaled:
        shifted = "x[i] - input_shift[i]" if shift else "x[i]"
        value = f"({shifted}) * input_scale[i]" if scale else shifted
        source = "buffer_0"
        yield from _loop("i", "FASTBP_INPUTS", f"{source}[i] = {value};")
    hidden = model.network.activations
    for layer, (fan_in, fan_out) in enumerate(model.network.layout.fans, 1):
        target = "out" if layer > len(hidden) else f"buffer_{(layer - 1 + scaled) % 2}"
        yield f"    affine({fan_in}, {fan_out}, {source}, weights_{layer}, biases_{layer}, {target});"
        if layer <= len(hidden):
            yield from _applied(hidden[layer - 1], str(fan_out), target)
        source = target
    yield "}\n"


def _predict(output: Activation | None) -> Iterator[str]:
    yield "void fastbp_predict(const real *x, real *out)\n{"
    yield "    fastbp_logits(x, out);"
    if output is None:
        yield "    softmax(out);"
    else:
        yield from _applied(output, "FASTBP_OUTPUTS", "out")
    yield "}\n"


def _applied(activation: Activation, count: str, array: str) -> Iterable[str]:
    """Write the loop that applies an activation in place; none for the identity."""
    if activation.value is None:
        return ()
    return _loop("j", count, f"{array}[j] = formula_{activation.name}({array}[j]);")


def _loop(index: str, count: str, statement: str) -> tuple[str, str]:
    return f"    for (int {index} = 0; {index} < {count}; {index}++)", f"        {statement}"
