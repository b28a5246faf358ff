"""Products: ``affine_forward`` with ReLU and ``affine_backward``, alone and against NumPy on the same threads."""

from __future__ import annotations

import numpy as np

import fastbp

from .duel import medians

SHAPES = [(128, 784, 512), (256, 1024, 1024), (2048, 2048, 2048)]  # rows, fan_in, fan_out

OPERANDS = """
import numpy as np, fastbp
rng = np.random.default_rng(0)
X, W = rng.standard_normal(({n}, {fan_in}), np.float32), rng.standard_normal(({fan_in}, {fan_out}), np.float32)
b, H = rng.standard_normal({fan_out}, np.float32), np.empty(({n}, {fan_out}), np.float32)
"""
NUMPY = "np.matmul(X, W, out=H); np.add(H, b, out=H); np.maximum(H, 0, out=H)"


class Affine:
    params = [SHAPES]
    param_names = ["shape"]

    def setup(self, shape):
        n, fan_in, fan_out = shape
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((n, fan_in), np.float32)
        self.W, self.b = rng.standard_normal((fan_in, fan_out), np.float32), rng.standard_normal(fan_out, np.float32)
        self.H = fastbp.affine_relu_forward(self.X, self.W, self.b)
        expected = np.maximum(self.X @ self.W + self.b, 0)
        np.testing.assert_allclose(self.H, expected, atol=fan_in * 1e-5)
        fastbp.affine_backward(self.H, self.X, self.W)

    def time_forward(self, shape):
        fastbp.affine_relu_forward(self.X, self.W, self.b, out=self.H)

    def time_backward(self, shape):
        fastbp.affine_backward(self.H, self.X, self.W)


class AffineAgainstNumpy:
    params = [SHAPES]
    param_names = ["shape"]
    timeout = 300

    def track_forward(self, shape):
        """Our time over NumPy's."""
        ours, theirs = forward_medians(shape)
        return ours / theirs

    track_forward.unit = "fastbp / NumPy"


def forward_medians(shape):
    """Seconds of `affine_relu_forward` and of NumPy's matmul, bias and ReLU in place."""
    setup = OPERANDS.format(n=shape[0], fan_in=shape[1], fan_out=shape[2])
    return medians((setup, "fastbp.affine_relu_forward(X, W, b, out=H)"), (setup, NUMPY))
