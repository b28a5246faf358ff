"""Vectors of 64-bit words, one for each lane of a vector of numbers, and the hash that dropout draws from.

AVX2 has no product of 64-bit lanes, of which LLVM makes three of 32-bit halves. Left to LLVM's own vectorisation, the
loop was scalar in place: 4.4 ns an entry instead of 0.75 on Zen 3, and 1.4 elsewhere.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default

from .dropout import FIRST, SECOND
from .jit import instruction
from .simd import I64, splat, vector_ir
from .target import TARGET


class WordsType(types.Type):  # type: ignore[misc]
    def __init__(self, lanes: int):
        self.lanes = lanes
        super().__init__(f"Words({lanes})")


@register_default(WordsType)
class _WordsModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, words: WordsType):
        super().__init__(dmm, words, ir.VectorType(I64, words.lanes))


@instruction
def words(typingctx: Any, like: Any, first: Any, step: Any) -> Any:
    """Return ``first + lane * step`` modulo 2^64 for each lane of the vectors that `like` points to."""
    lanes = TARGET.lanes(like.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, first, step = args
        order = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
        return builder.add(splat(builder, first, lanes), builder.mul(splat(builder, step, lanes), order))

    return WordsType(lanes)(like, types.uint64, types.uint64), codegen


@instruction
def moved(typingctx: Any, words: Any, step: Any) -> Any:
    """Return ``words + step`` modulo 2^64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.add(args[0], splat(builder, args[1], words.lanes))

    return words(words, types.uint64), codegen


@instruction
def mixed(typingctx: Any, z: Any) -> Any:
    """Return the hash of one word, or of each word of a vector: the finaliser of SplitMix64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (word,) = args

        def constant(number: int) -> Any:
            return ir.Constant(word.type, [number] * z.lanes if isinstance(z, WordsType) else number)

        def folded(word: Any, shift: int) -> Any:
            return builder.xor(word, builder.lshr(word, constant(shift)))

        word = builder.mul(folded(word, 30), constant(FIRST))
        word = builder.mul(folded(word, 27), constant(SECOND))
        return folded(word, 31)

    return z(z), codegen


@instruction
def kept(typingctx: Any, vector: Any, words: Any, bar: Any) -> Any:
    """Return the vector, with +0 in the lanes whose word is below `bar`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, drawn, bar = args
        reached = builder.icmp_unsigned(">=", drawn, splat(builder, bar, words.lanes))
        return builder.select(reached, value, ir.Constant(vector_ir(vector.dtype), None))

    return vector(vector, words, types.uint64), codegen
