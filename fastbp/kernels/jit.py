"""The only file that says ``njit``: what a function may be compiled as, and with which options.

Every option that decides about results or speed stands here once. No fast-math flag is ever set: LLVM then neither
reassociates nor contracts, and the order of additions written in a kernel is the order that runs.

A kernel is translated to LLVM's language once for each set of argument types, and optimised once, within the C function
that it ends in. Numba's own dispatcher would optimise and emit each kernel on its own and again in every kernel that
calls it; its inliner copies the callee before types are known, and types, checks and translates every copy: a first fit
then waited 14.5 s, and waits 2.4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, imputils, typed_passes, untyped_passes
from numba.core.compiler import CompilerBase, Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.cpu import CPUContext
from numba.core.datamodel import models, register_default
from numba.core.funcdesc import PythonFunctionDescriptor
from numba.core.imputils import lower_constant
from numba.core.lowering import Lower
from numba.core.registry import cpu_target
from numba.core.typing import signature, templates
from numba.core.typing.context import BaseContext
from numba.extending import typeof_impl

from .dispatcher_cache import StampedCache

TRIPLE = llvm.get_process_triple()

# nogil: other Python threads run on meanwhile. numpy's error model: a division never raises, so compiled code has no
# error path. Both are part of every kernel's contract.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


# ---- what Numba's dispatchers compile: for a user's own code, and for its threads ----


def user_kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel into a user's own ``@njit`` function, or for a call from Python."""
    return numba.njit(**OPTIONS)(function)


def parallel_entry(function: Callable[..., Any]) -> Any:
    """Compile a function whose ``prange`` loops Numba's threads run; kept in the disk cache.

    Loading or compiling it starts Numba's thread pool, so nothing else is compiled with it.
    """
    return cached(numba.njit(parallel=True, **OPTIONS)(function), function, "parallel")


def cached(dispatcher: Any, function: Callable[..., Any], kind: str) -> Any:
    """Give a dispatcher the disk cache that knows when a kernel has changed."""
    dispatcher._cache = StampedCache(function, kind)
    return dispatcher


# ---- Numba's view of a kernel ----


class _Typing(BaseContext):  # type: ignore[misc]
    """Typing by Numba's builtins alone: kernels know numbers, tuples, ranges and pointers."""

    loaded = False

    def refresh(self) -> None:
        if not self.loaded:  # Numba refreshes its contexts at each call of a compiler, since users may have extended it
            self.loaded = True
            self._load_builtins()

    def install_registry(self, registry: Any) -> None:
        """Take what is declared, except overloads: these have the whole of Numba's target loaded, which takes 0.8 s."""
        loader = templates.RegistryLoader(registry)
        for declared in loader.new_registrations("functions"):
            if not hasattr(declared, "_overload_func"):
                self.insert_function(declared(self))
        for declared in loader.new_registrations("attributes"):
            if not hasattr(declared, "_overload_func"):
                self.insert_attributes(declared(self))
        for value, kind in loader.new_registrations("globals"):
            known = self._lookup_global(value)
            if known is not None:
                self._remove_global(value)
            self.insert_global(value, kind if known is None else known.augment(kind))


class _Lowering(CPUContext):  # type: ignore[misc]
    """Numba's target without the registries that kernels do not need."""

    loaded = False

    def refresh(self) -> None:
        if not self.loaded:
            self.loaded = True
            from numba.cpython import builtins, iterators, numbers, rangeobj, tupleobj  # noqa: F401

            self.install_registry(imputils.builtin_registry)
        self.typing_context.refresh()

    def get_abi_sizeof(self, kind: ir.Type) -> int:
        """Return 0: only debuggers are told the sizes of variables, and LLVM is at work in another thread."""
        return 0

    def post_lowering(self, module: ir.Module, library: Any) -> None:
        """Link nothing of Numba's runtime, which kernels do not use."""


class World(NamedTuple):
    """A typing context and the target context that belongs to it."""

    typing: Any
    target: Any


@functools.cache
def own_world() -> World:
    """Return the contexts that fastbp's C functions are translated in."""
    own_typing = _Typing()
    return World(own_typing, _Lowering(own_typing))


def _world_of(typing: Any) -> World:
    """Return the contexts of a caller: fastbp's own, or Numba's, where a user's own function calls a kernel."""
    own = own_world()
    return own if typing is own.typing else World(cpu_target.typing_context, cpu_target.target_context)


# ---- kernels ----


class Kernel:
    """A function that other kernels call, translated for each set of argument types when it is first called."""

    def __init__(self, function: Callable[..., Any], inlined: bool = True):
        self.py_func, self.inlined = function, inlined
        self._translations: dict[tuple[int, tuple[types.Type, ...]], Translation] = {}
        self.__doc__ = function.__doc__

    def translation(self, world: World, arguments: tuple[types.Type, ...]) -> Translation:
        """Return the kernel in LLVM's language for these types of arguments."""
        with global_compiler_lock:
            key = id(world.target), arguments
            if key not in self._translations:
                self._translations[key] = _translate(self, world, arguments)
            return self._translations[key]


def kernel(function: Callable[..., Any]) -> Any:
    """Make a function a kernel: a building block that LLVM compiles into the C function it belongs to."""
    return Kernel(function)


def outlined(function: Callable[..., Any]) -> Any:
    """Make a kernel that stays a function of its own: what is long, called from several places, and no inner loop.

    Packing and the edges of matrices, inlined into every tile, made LLVM take 2.2 s for products instead of 0.9.
    """
    return Kernel(function, inlined=False)


class Translation(NamedTuple):
    """A kernel for one set of argument types."""

    signature: Any
    descriptor: Any  # by which Numba declares the function
    library: Text


class Text(codegen.CPUCodeLibrary):  # type: ignore[misc]
    """A function's modules as they were translated, and the libraries of what it calls; nothing is optimised here."""

    def __init__(self, generator: Any, name: str):
        codegen.CodeLibrary.__init__(self, generator, name)
        self._linking_libraries: list[Any] = []
        self._modules: list[ir.Module] = []
        self._shared_module: Any = None

    def create_ir_module(self, name: str) -> ir.Module:
        """Return an empty module."""
        module = ir.Module(name)
        module.triple = TRIPLE
        return module

    def add_ir_module(self, module: ir.Module) -> None:
        self._modules.append(module)

    def function(self, name: str) -> ir.Function:
        """Return the function of this name that is defined here."""
        return next(module.globals[name] for module in self._modules if name in module.globals)

    def add_linking_library(self, library: Any) -> None:
        if library.name != "nrt" and library not in self._linking_libraries:  # Numba's runtime, which no kernel uses
            self._linking_libraries.append(library)

    def modules(self) -> Iterator[str]:
        """Yield the text of every module that this function needs, each once."""
        found: dict[Any, None] = {}
        waiting: list[Any] = [self]
        while waiting:
            library = waiting.pop()
            if library not in found:
                found[library] = None
                waiting += library._linking_libraries if isinstance(library, Text) else []
        for library in found:
            if isinstance(library, Text):
                yield from map(str, library._modules)
            else:  # an overload of Numba's, in a user's function
                yield str(library._get_module_for_linking())

    def _get_module_for_linking(self) -> Any:
        """Return this function with all that it calls, for a user's own function that calls it."""
        if self._shared_module is None:
            module = linked(self.modules())
            for function in module.functions:
                if not function.is_declaration:
                    function.linkage = "linkonce_odr"
            self._shared_module = module
        return self._shared_module

    def _ensure_finalized(self) -> None:
        """Do nothing: what calls this function is optimised, not the function on its own."""

    def _finalize_specific(self) -> None:
        raise NotImplementedError("a kernel's text is no library to load")


def linked(modules: Iterator[str]) -> Any:
    """Return modules of LLVM's language as one."""
    whole = llvm.parse_assembly(next(modules))
    for text in modules:
        whole.link_in(llvm.parse_assembly(text))
    return whole


@register_pass(mutates_CFG=True, analysis_only=False)
class _Translate(FunctionPass):  # type: ignore[misc]
    """Numba's translation to LLVM's language, without questions to LLVM, which is at work in another thread."""

    _name = "fastbp_translate"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        descriptor = PythonFunctionDescriptor.from_specialized_function(
            state.func_ir, state.typemap, state.return_type, state.calltypes, mangler=state.targetctx.mangler,
            inline=state.flags.forceinline, noalias=False, abi_tags=[state.flags.get_mangle_string()],
        )  # fmt: skip
        with state.targetctx.push_code_library(state.library):
            Lower(state.targetctx, state.library, descriptor, state.func_ir, metadata=state.metadata).lower()
        state.cr = Translation(signature(state.return_type, *state.args), descriptor, state.library)
        return True


class _Passes(CompilerBase):  # type: ignore[misc]
    """Numba's passes that kernels need: they have no closures, objects, overloads or array expressions to rewrite."""

    def define_pipelines(self) -> list[PassManager]:
        passes = PassManager("fastbp")
        for step in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            _Translate,
        ):
            passes.add_pass(step, step.__name__)
        passes.finalize()
        return [passes]


def _translate(kernel: Kernel, world: World, arguments: tuple[types.Type, ...]) -> Translation:
    typing, target = world
    library = Text(target.codegen(), kernel.py_func.__qualname__)
    flags = Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = OPTIONS["error_model"]
    flags.nrt = False
    flags.forceinline = kernel.inlined  # left to LLVM's estimate, the tile loops stay calls
    passes = _Passes(typing, target, library, arguments, None, flags, {})
    translation: Translation = passes.compile_extra(kernel.py_func)
    if not kernel.inlined:
        library.function(translation.descriptor.mangled_name).attributes.add("noinline")
    target.insert_user_function((kernel, arguments), translation.descriptor, [library])
    return translation


# ---- what a kernel may call: other kernels, and instructions that are written out ----


class Instruction:
    """A call that writes LLVM instructions itself.

    ``define(typing, *types)`` gives a signature for these types of arguments, and the function that writes the code:
    ``write(context, builder, signature, values)``. Numba's own `intrinsic` does the same, but has Numba's whole target
    loaded, and looks through all its registries at each call.
    """

    def __init__(self, define: Callable[..., Any]):
        self.define = define
        self.__doc__ = define.__doc__


def instruction(define: Callable[..., Any]) -> Any:
    """Make a call that kernels write as instructions."""
    return Instruction(define)


class _Callable(types.Callable, types.Opaque):  # type: ignore[misc]
    """The type of a kernel or an instruction where a kernel calls it."""

    def __init__(self, called: Kernel | Instruction):
        self.called = called
        super().__init__(f"{type(called).__name__}({id(called)})")

    def get_call_type(self, context: Any, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Any:
        world, arguments = _world_of(context), tuple(map(types.unliteral, args))
        if isinstance(self.called, Kernel):
            return self.called.translation(world, arguments).signature
        signature, write = self.called.define(context, *arguments)
        world.target.insert_func_defn([(write, self.get_impl_key(signature), signature.args)])
        return signature

    def get_call_signatures(self) -> tuple[tuple[()], bool]:
        return (), True

    def get_impl_key(self, sig: Any) -> Any:
        return self.called, sig.args


@register_default(_Callable)
class _CallableModel(models.OpaqueModel):  # type: ignore[misc]
    pass


@typeof_impl.register(Kernel)
@typeof_impl.register(Instruction)
def typeof_callable(value: Kernel | Instruction, context: Any) -> types.Type:
    """Return the type of a kernel or an instruction."""
    return _Callable(value)


@lower_constant(_Callable)
def _lower_callable(context: Any, builder: Any, kind: _Callable, value: Any) -> Any:
    return context.get_dummy_value()


# ---- calls of C functions ----


@instruction
def call_at(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call the C function whose address lies at this place with a tuple of arguments.

    The address is loaded as a pointer out of memory, so no pointer is ever made from an integer.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = cgutils.unpack_tuple(builder, args[1])
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values]).as_pointer()
        builder.call(builder.load(builder.bitcast(args[0], function.as_pointer())), values)
        return context.get_dummy_value()

    return types.void(address, arguments), codegen
