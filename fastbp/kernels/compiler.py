"""Compile C functions: kernels to LLVM's language by Numba, optimised and emitted by LLVM, once."""

from __future__ import annotations

import contextlib
import gc
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

from .entries import entry
from .functions import Compiled
from .jit import TRIPLE, Translation, linked, own_world
from .target import TARGET

LONGEST = "gemm"  # first, so that LLVM is busy with it while all others are translated


def compiled(functions: Iterable[Compiled]) -> Iterator[tuple[Compiled, bytes]]:
    """Yield each function with its object; LLVM works on one in a thread while Numba translates the next."""
    texts: queue.SimpleQueue[tuple[Compiled, list[str]] | None] = queue.SimpleQueue()
    objects: list[tuple[Compiled, bytes]] = []
    errors: list[BaseException] = []

    def emit() -> None:
        try:
            while (translated := texts.get()) is not None:
                function, modules = translated
                objects.append((function, emitted(modules, function.symbol)))
        except BaseException as error:
            errors.append(error)

    # No executor: a fork elsewhere takes the lock that it needs and then waits for us, and it refuses work once the
    # main thread has ended.
    llvm_thread = threading.Thread(target=emit, daemon=True)
    wait: Callable[[], None] = llvm_thread.join
    with _undisturbed():
        try:
            llvm_thread.start()
        except RuntimeError:  # the system's limit, or the interpreter ends
            wait = emit
        try:
            for function in sorted(functions, key=lambda function: getattr(function, "operation", "") != LONGEST):
                texts.put((function, list(texts_of(function))))
        finally:
            texts.put(None)
            wait()
    for error in errors:
        raise error
    yield from objects


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep Python from looking for garbage, of which a compiler leaves none before it is done: 0.5 of 4.5 s.

    And let LLVM's thread have the GIL soon when it asks for it between two calls, of which it makes some hundreds; it
    would wait 5 ms each time, and 0.4 s of 2.9 in all.
    """
    enabled, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if enabled:
            gc.enable()


def texts_of(function: Compiled) -> Iterator[str]:
    """Yield the modules of a function in LLVM's language, the plain C function first."""
    kernel, arguments = entry(function)
    with global_compiler_lock:
        translation = kernel.translation(own_world(), arguments)
    yield str(_plain(function.symbol, translation, arguments))
    yield from translation.library.modules()


def _plain(symbol: str, translation: Translation, arguments: tuple[types.Type, ...]) -> ir.Module:
    """Write the function of this name, which calls Numba's and drops its status: a kernel never fails."""
    target, result = own_world().target, translation.signature.return_type
    module = ir.Module(symbol)
    module.triple = TRIPLE
    inner = target.declare_function(module, translation.descriptor)
    returned = ir.VoidType() if result == types.none else target.get_value_type(result)
    outer = ir.Function(module, ir.FunctionType(returned, [target.get_value_type(kind) for kind in arguments]), symbol)
    builder = ir.IRBuilder(outer.append_basic_block())
    _, value = target.call_conv.call_function(builder, inner, result, arguments, list(outer.args))
    if result == types.none:
        builder.ret_void()
    else:
        builder.ret(value)
    return module


def emitted(texts: list[str], symbol: str) -> bytes:
    """Return the object of these modules, in which nothing but `symbol` can be seen from outside."""
    module = linked(iter(texts))
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = "internal"
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu=TARGET.cpu, features=TARGET.features, opt=int(config.OPT), reloc="pic", codemodel="small"
    )
    module.data_layout = str(machine.target_data)
    tuning = llvm.create_pipeline_tuning_options(int(config.OPT))
    tuning.loop_vectorization = bool(config.LOOP_VECTORIZE)
    tuning.slp_vectorization = bool(config.SLP_VECTORIZE)
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    code: bytes = machine.emit_object(module)
    return code
