"""Products: the three forms of back-propagation, against NumPy and the processor's limit; and whole layers."""

from __future__ import annotations

import math

import numpy as np

import fastbp
from fastbp.kernels import operations as op
from fastbp.program.products import Product
from fastbp.program.run import Operands, run
from fastbp.program.split import chain, cheapest, side_by_side

from . import BRIEF
from .duel import ROUNDS, Side, duel
from .fma import Probe

SHAPES = [(128, 784, 512), (256, 1024, 1024), (256, 4096, 4096), (2048, 2048, 2048)]  # rows, fan_in, fan_out
ASKED, ASKED_OF_NUMPY = 90, 1  # percent of the limit; NumPy's time / fastbp's
if BRIEF:
    SHAPES = [(8, 24, 16)]
FORMS = {
    "forward": lambda X, W, H: np.matmul(X, W, out=H),
    "dX": lambda X, W, H: np.matmul(H, W.T, out=X),
    "dW": lambda X, W, H: np.matmul(X.T, H, out=W),
}


class NumpyForm:
    """X (n, fan_in), W (fan_in, fan_out) and H (n, fan_out); each form computes one of them from the other two."""

    def __init__(self, form: str, shape: tuple[int, int, int], dtype: str = "float32"):
        n, fan_in, fan_out = shape
        rng = np.random.default_rng(0)
        self.form, self.shapes = FORMS[form], [(n, fan_in), (fan_in, fan_out), (n, fan_out)]
        self.arrays = [rng.standard_normal(shape, dtype) for shape in self.shapes]

    def __call__(self) -> None:
        self.form(*self.arrays)


class Form(NumpyForm):
    """The same as the library splits it: forward and dX as links of a chain, dW beside others of its kind."""

    def __init__(self, form: str, shape: tuple[int, int, int], dtype: str = "float32"):
        super().__init__(form, shape, dtype)
        n, fan_in, fan_out = shape
        X, W, H = (op.INPUTS, 0, fan_in), (op.PARAMETERS, 0, fan_out), (op.ACTIVATIONS, 0, fan_out)
        product = {
            "forward": Product(n, fan_out, fan_in, a=X, b=W, c=H),
            "dX": Product(n, fan_in, fan_out, a=H, b=W, c=X, b_transposed=True),
            "dW": Product(fan_in, fan_out, n, a=X, b=H, c=W, a_transposed=True),
        }[form]

        def write(machine):
            if form != "dW":
                return chain([product], machine)
            time, strands = side_by_side([product], machine)
            return time, [strands]

        self.program = cheapest(write, np.dtype(dtype), fastbp.threads.count(), 1)
        inputs, parameters, activations = (array.reshape(-1) for array in self.arrays)
        self.operands = Operands(inputs, parameters, activations, gradient=inputs)
        expected = [array.copy() for array in self.arrays]
        self.form(*expected)
        self()
        for ours, theirs in zip(self.arrays, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=4 * product.depth * np.finfo(dtype).eps)

    def __call__(self) -> None:
        run(self.program, self.operands)


def shares_of_limit(
    shape: tuple[int, int, int], dtype: str, threads: int, rounds: int = ROUNDS
) -> dict[str, tuple[float, float]]:
    """Return the share of the processor's limit that each form reaches, for fastbp and for NumPy."""
    limit, flops = Probe.side(dtype, threads)
    setup = "from benchmarks.gemm import {kind}\nit = {kind}({form!r}, {shape}, {dtype!r})"
    sides = {
        f"{kind} {form}": Side(setup.format(kind=kind, form=form, shape=shape, dtype=dtype), "it()", threads=threads)
        for form in FORMS
        for kind in ("Form", "NumpyForm")
    }
    seconds = duel(sides | {"limit": limit}, rounds).seconds
    least = seconds["limit"] * 2 * math.prod(shape) / flops
    return {form: (least / seconds[f"Form {form}"], least / seconds[f"NumpyForm {form}"]) for form in FORMS}


class Gemm:
    params = [list(FORMS), SHAPES, ["float32", "float64"]]
    param_names = ["form", "shape", "dtype"]

    def setup(self, form, shape, dtype):
        self.product = Form(form, shape, dtype)

    def time_gemm(self, form, shape, dtype):
        self.product()


class Affine:
    params = [SHAPES]
    param_names = ["shape"]

    def setup(self, shape):
        self.X, self.W, self.H = NumpyForm("forward", shape).arrays
        self.b, self.out = np.ones(shape[2], np.float32), np.empty_like(self.H)
        self.time_forward(shape)
        expected = np.maximum(self.X @ self.W + self.b, 0)
        np.testing.assert_allclose(self.out, expected, atol=shape[1] * 1e-5)
        self.time_backward(shape)

    def time_forward(self, shape):
        fastbp.affine_relu_forward(self.X, self.W, self.b, out=self.out)

    def time_backward(self, shape):
        fastbp.affine_backward(self.H, self.X, self.W)
