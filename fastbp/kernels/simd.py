"""Vectors of the compile target as Numba values: width, registers, pointers, masked loads and stores, formulas.

LLVM narrows its own vectorisation to 256 bits on many AVX-512 processors, so the vector type is written out here.
Width and register count are the target's, which makes AVX-512, AVX2, SSE and NEON other shapes of the same code. All
multiply-adds go through `fma`: one rounding where the target has the instruction, a rounded product and a rounded sum
where it has not, for every kernel alike.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.extending import typeof_impl

from .jit import Instruction, instruction, typeof_callable
from .lanes import Formula, select
from .target import TARGET

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


# ---- vectors while their code is written ----


def vector_ir(dtype: types.Type) -> ir.VectorType:
    return ir.VectorType({32: ir.FloatType(), 64: ir.DoubleType()}[dtype.bitwidth], TARGET.lanes(dtype))


def integers_ir(dtype: types.Type) -> ir.VectorType:
    """The integer vector of the same shape, for bit patterns."""
    return ir.VectorType(ir.IntType(dtype.bitwidth), TARGET.lanes(dtype))


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    vector = ir.VectorType(scalar.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(
        first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), None)
    )


class VectorLanes:
    """The lanes of a formula as an LLVM value: what is done to them writes the instruction for all lanes."""

    def __init__(self, builder: Any, dtype: types.Type, value: Any):
        self.builder, self.dtype, self.value = builder, dtype, value

    def constant(self, number: float) -> Any:
        vector = vector_ir(self.dtype)
        return ir.Constant(vector, [ir.Constant(vector.element, float(number))] * vector.count)

    def _operand(self, other: Any) -> Any:
        return other.value if isinstance(other, VectorLanes) else self.constant(other)

    def _new(self, value: Any) -> VectorLanes:
        return VectorLanes(self.builder, self.dtype, value)

    def __add__(self, other: Any) -> VectorLanes:
        return self._new(self.builder.fadd(self.value, self._operand(other)))

    def __sub__(self, other: Any) -> VectorLanes:
        return self._new(self.builder.fsub(self.value, self._operand(other)))

    def __mul__(self, other: Any) -> VectorLanes:
        return self._new(self.builder.fmul(self.value, self._operand(other)))

    def __truediv__(self, other: Any) -> VectorLanes:
        return self._new(self.builder.fdiv(self.value, self._operand(other)))

    def __rsub__(self, number: float) -> VectorLanes:
        return self._new(self.builder.fsub(self.constant(number), self.value))

    def __rtruediv__(self, number: float) -> VectorLanes:
        return self._new(self.builder.fdiv(self.constant(number), self.value))

    def __neg__(self) -> VectorLanes:
        return self._new(self.builder.fneg(self.value))

    def _compare(self, sign: str, other: Any) -> VectorLanes:
        return self._new(self.builder.fcmp_ordered(sign, self.value, self._operand(other)))

    def __lt__(self, other: Any) -> VectorLanes:
        return self._compare("<", other)

    def __le__(self, other: Any) -> VectorLanes:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> VectorLanes:
        return self._compare(">", other)

    def equals(self, other: Any) -> VectorLanes:
        return self._compare("==", other)

    # Bit patterns, for exponents: integers of the same width, held in the same class.
    def bits(self) -> VectorLanes:
        return self._new(self.builder.bitcast(self.value, integers_ir(self.dtype)))

    def as_float(self) -> VectorLanes:
        return self._new(self.builder.bitcast(self.value, vector_ir(self.dtype)))

    def to_float(self) -> VectorLanes:
        """The number that an integer vector holds, as opposed to its bit pattern."""
        return self._new(self.builder.sitofp(self.value, vector_ir(self.dtype)))

    def _integer(self, instruction: str, number: Any) -> VectorLanes:
        vector = integers_ir(self.dtype)
        other = number.value if isinstance(number, VectorLanes) else ir.Constant(vector, [number] * vector.count)
        return self._new(getattr(self.builder, instruction)(self.value, other))

    def int_add(self, number: Any) -> VectorLanes:
        return self._integer("add", number)

    def int_sub(self, number: Any) -> VectorLanes:
        return self._integer("sub", number)

    def int_and(self, number: int) -> VectorLanes:
        return self._integer("and_", number)

    def shift_left(self, number: int) -> VectorLanes:
        return self._integer("shl", number)

    def shift_right(self, number: int) -> VectorLanes:
        """Arithmetic: the sign is kept."""
        return self._integer("ashr", number)

    def filled(self, number: float) -> VectorLanes:
        """Return a vector with the same number in every lane."""
        return self._new(self.constant(number))

    def of_each(self, function: str, *others: Any) -> VectorLanes:
        """Call a function of the C library, in float64, for one lane after another."""
        builder, double, vector = self.builder, ir.DoubleType(), vector_ir(self.dtype)
        operands = [self.value, *map(self._operand, others)]
        kind = ir.FunctionType(double, [double] * len(operands))
        called, result = cgutils.get_or_insert_function(builder.module, kind, function), ir.Constant(vector, None)
        for lane in range(vector.count):
            numbers = [builder.extract_element(operand, I32(lane)) for operand in operands]
            if vector.element != double:
                numbers = [builder.fpext(number, double) for number in numbers]
            value = builder.call(called, numbers)
            if vector.element != double:
                value = builder.fptrunc(value, vector.element)
            result = builder.insert_element(result, value, I32(lane))
        return self._new(result)

    def fma(self, factor: Any, addend: Any) -> VectorLanes:
        if not TARGET.has_fma:  # llvm.fma would become a call of libm for every lane
            return self.__mul__(factor).__add__(addend)
        return self._intrinsic("fma", factor, addend)

    def absolute(self) -> VectorLanes:
        return self._intrinsic("fabs")

    def sqrt(self) -> VectorLanes:
        return self._intrinsic("sqrt")

    def copysign(self, sign: Any) -> VectorLanes:
        return self._intrinsic("copysign", sign)

    def select(self, yes: Any, no: Any) -> VectorLanes:
        return self._new(self.builder.select(self.value, self._operand(yes), self._operand(no)))

    def _intrinsic(self, operation: str, *others: Any) -> VectorLanes:
        """Call what every target has as one or two instructions for all lanes; llvmlite declares none for vectors."""
        vector = vector_ir(self.dtype)
        name = f"llvm.{operation}.v{vector.count}f{self.dtype.bitwidth}"
        kind = ir.FunctionType(vector, [vector] * (1 + len(others)))
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self._new(self.builder.call(function, [self.value, *map(self._operand, others)]))


# ---- vectors as Numba values ----


class VectorType(types.Type):  # type: ignore[misc]
    def __init__(self, dtype: types.Type):
        self.dtype = dtype
        super().__init__(f"Vector({dtype}, {TARGET.lanes(dtype)})")


@register_default(VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, vector: VectorType):
        super().__init__(dmm, vector, vector_ir(vector.dtype))


def lanes_of(builder: Any, dtype: types.Type, kind: types.Type, value: Any) -> VectorLanes:
    """Return a vector argument as it is, a scalar one in every lane."""
    if not isinstance(kind, VectorType):
        value = splat(builder, value, TARGET.lanes(dtype))
    return VectorLanes(builder, dtype, value)


@typeof_impl.register(Formula)
def _typeof_formula(value: Formula, context: Any) -> Any:
    return typeof_callable(_instruction_of(value), context)


@functools.cache
def _instruction_of(formula: Formula) -> Instruction:
    """Return the call of a formula: vectors are taken as they are, scalars put into every lane."""

    def define(typing: Any, *kinds: Any) -> Any:
        vectors = [kind for kind in kinds if isinstance(kind, VectorType)]
        result = vectors[0] if vectors else kinds[0]
        dtype = vectors[0].dtype if vectors else kinds[0]
        kinds = tuple(kind if isinstance(kind, VectorType) else dtype for kind in kinds)

        def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            operands = [lanes_of(builder, dtype, kind, arg) for kind, arg in zip(kinds, args, strict=True)]
            value = formula.write(*operands).value  # type: ignore[attr-defined]
            return value if vectors else builder.extract_element(value, I32(0))

        return result(*kinds), write

    return Instruction(define)


def reduction(combine: Any) -> Any:
    """Combine the lanes of a vector in a tree of halves: an order that depends on the vector width alone."""

    @instruction
    def call(typingctx: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = VectorLanes(builder, vector.dtype, args[0])
            count = TARGET.lanes(vector.dtype)
            distance = count // 2
            while distance:
                order = ir.Constant(ir.VectorType(I32, count), [I32(lane ^ distance) for lane in range(count)])
                swapped = builder.shuffle_vector(value.value, ir.Constant(value.value.type, ir.Undefined), order)
                value = combine(value, VectorLanes(builder, vector.dtype, swapped))
                distance //= 2
            return builder.extract_element(value.value, I32(0))

        return vector.dtype(vector), codegen

    return call


# ---- memory ----


def first_lanes(builder: Any, dtype: types.Type, count: Any) -> Any:
    """Return the mask of the lanes below `count`.

    They are compared as integers as wide as the lanes, so that AVX2 takes the comparison itself for the mask.
    """
    lanes, kind = TARGET.lanes(dtype), integers_ir(dtype)
    count = builder.select(builder.icmp_signed("<", count, I64(lanes)), count, I64(lanes))
    if kind.element != count.type:
        count = builder.trunc(count, kind.element)
    return builder.icmp_signed("<", ir.Constant(kind, list(range(lanes))), splat(builder, count, lanes))


def load_vector(builder: Any, dtype: types.Type, pointer: Any, mask: Any = None, beyond: Any = None) -> Any:
    """Load a vector; lanes outside the mask are not read, but are `beyond`, or zero. Element alignment is enough."""
    vector, align = vector_ir(dtype), dtype.bitwidth // 8
    pointer = builder.bitcast(pointer, vector.as_pointer())
    if mask is None:
        return builder.load(pointer, align=align)
    name = f"llvm.masked.load.v{vector.count}f{dtype.bitwidth}.p0"
    kind = ir.FunctionType(vector, [vector.as_pointer(), I32, mask.type, vector])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [pointer, I32(align), mask, ir.Constant(vector, None) if beyond is None else beyond])


def store_vector(builder: Any, dtype: types.Type, value: Any, pointer: Any, mask: Any = None) -> None:
    """Store a vector; lanes outside the mask are not written."""
    vector, align = vector_ir(dtype), dtype.bitwidth // 8
    pointer = builder.bitcast(pointer, vector.as_pointer())
    if mask is None:
        builder.store(value, pointer, align=align)
        return
    name = f"llvm.masked.store.v{vector.count}f{dtype.bitwidth}.p0"
    kind = ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), I32, mask.type])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value, pointer, I32(align), mask])


def prefetch(builder: Any, pointer: Any) -> None:
    """Ask for a cache line before it is needed; it need not exist."""
    byte = builder.bitcast(pointer, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [byte.type, I32, I32, I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", (byte.type,), kind)
    builder.call(function, [byte, I32(0), I32(3), I32(1)])  # to read, to the first level, data


@instruction
def ahead(typingctx: Any, start: Any) -> Any:
    """Fetch a cache line that will be read soon; it need not exist."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        prefetch(builder, args[0])
        return context.get_dummy_value()

    return types.void(start), codegen


@instruction
def pointer(typingctx: Any, array: Any) -> Any:
    """Return a pointer to an array's first element."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_array(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@instruction
def advance(typingctx: Any, start: Any, count: Any) -> Any:
    """Return the pointer `count` elements on."""
    return start(start, types.intp), lambda context, builder, signature, args: builder.gep(args[0], [args[1]])


@instruction
def pointer_at(typingctx: Any, place: Any, index: Any) -> Any:
    """Return the pointer to bytes that lies in memory at ``place[index]``, whatever `place` is said to point to."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(BYTES)
        return builder.load(builder.gep(builder.bitcast(args[0], kind.as_pointer()), [args[1]]))

    return BYTES(place, types.intp), codegen


@instruction
def set_pointer(typingctx: Any, place: Any, index: Any, value: Any) -> Any:
    """``place[index] = value`` for a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, index, value = args
        builder.store(value, builder.gep(builder.bitcast(place, value.type.as_pointer()), [index]))
        return context.get_dummy_value()

    return types.void(place, types.intp, value), codegen


def _pointer_to(dtype: types.Type) -> Any:
    @instruction
    def call(typingctx: Any, start: Any) -> Any:
        target = types.CPointer(dtype)
        return target(start), lambda context, builder, signature, args: builder.bitcast(
            args[0], context.get_value_type(target)
        )

    return call


BYTES = types.CPointer(types.uint8)
integers, doubles, keys = _pointer_to(types.int64), _pointer_to(types.float64), _pointer_to(types.uint64)


@instruction
def lanes(typingctx: Any, start: Any) -> Any:
    """Return how many elements behind this pointer make one vector: a constant of the compiled code."""
    count = TARGET.lanes(start.dtype)
    return types.intp(start), lambda context, builder, signature, args: I64(count)


@instruction
def least(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the smaller of two whole numbers: Numba's own `min` is a function that its dispatcher compiles."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed("<", args[0], args[1]), *args)

    return types.intp(types.intp, types.intp), codegen


@instruction
def greatest(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the larger of two whole numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed(">", args[0], args[1]), *args)

    return types.intp(types.intp, types.intp), codegen


@instruction
def number(typingctx: Any, like: Any, value: Any) -> Any:
    """Convert `value` to the dtype that `like` points to: a plain constant would make float64 of float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[1], signature.args[1], like.dtype)

    return like.dtype(like, value), codegen


@instruction
def unsigned(typingctx: Any, value: Any) -> Any:
    """Convert a whole number to uint64, modulo 2^64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], signature.args[0], types.uint64)

    return types.uint64(value), codegen


@instruction
def truncated(typingctx: Any, value: Any) -> Any:
    """Convert a number within the range of int64 to a whole number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], signature.args[0], types.intp)

    return types.intp(value), codegen


@instruction
def load(typingctx: Any, start: Any, count: Any, beyond: Any) -> Any:
    """Load a vector of ``start[:count]``, with `beyond` in the lanes behind."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        filler = splat(builder, args[2], TARGET.lanes(start.dtype))
        return load_vector(builder, start.dtype, args[0], first_lanes(builder, start.dtype, args[1]), filler)

    return VectorType(start.dtype)(start, types.intp, start.dtype), codegen


@instruction
def store(typingctx: Any, vector: Any, start: Any, count: Any) -> Any:
    """Store the first lanes of a vector to ``start[:count]``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store_vector(builder, start.dtype, args[0], args[1], first_lanes(builder, start.dtype, args[2]))
        return context.get_dummy_value()

    return types.void(vector, start, types.intp), codegen


@instruction
def load_whole(typingctx: Any, start: Any) -> Any:
    """Load a vector, all of which is there."""
    return VectorType(start.dtype)(start), lambda context, builder, signature, args: load_vector(
        builder, start.dtype, args[0]
    )


@instruction
def store_whole(typingctx: Any, vector: Any, start: Any) -> Any:
    """Store all lanes of a vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store_vector(builder, start.dtype, args[0], args[1])
        return context.get_dummy_value()

    return types.void(vector, start), codegen


@instruction
def filled(typingctx: Any, start: Any, value: Any) -> Any:
    """Return a vector with the same number in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splat(builder, args[1], TARGET.lanes(start.dtype))

    return VectorType(start.dtype)(start, start.dtype), codegen


add_lanes = reduction(operator.add)
max_lanes = reduction(lambda a, b: select(a > b, a, b))
