"""The child process of `background`: it compiles the functions that come through its standard input, and answers."""

from __future__ import annotations

import hashlib
import os
import pickle
import queue
import struct
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

from . import cache, own
from .target import TARGET, settings

HEADER = struct.Struct("<Q32s")  # of an answer: the length of its content, and a hash of it
LONGEST = 1 << 26  # bytes of an answer: what is longer is damaged
IDLE = 60.0  # seconds without a request after which the process ends, should its input be held open by others
Identity = tuple[Any, ...]


def identity() -> Identity:
    """Return what the object of a function follows from, besides the function."""
    return None if cache.STAMP is None else cache.STAMP.digest, tuple(TARGET), settings()


def answer(identity: Identity, symbol: str, code: bytes) -> bytes:
    """Return an answer as it is sent."""
    content = pickle.dumps((identity, symbol, code))
    return HEADER.pack(len(content), hashlib.sha256(content).digest()) + content


def read_answer(read: Callable[[int], bytes], expected: Identity) -> tuple[str, bytes]:
    """Return symbol and code of the next answer; a ValueError where it is damaged, or of another code or target."""
    length, digest = HEADER.unpack(read(HEADER.size))
    if length > LONGEST:
        raise ValueError("damaged: too long")
    content = read(length)
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("damaged")
    sender, symbol, code = pickle.loads(content)
    if sender != expected:
        raise ValueError(f"of another code or target: {sender}")
    return symbol, code


def serve(stream: BinaryIO) -> NoReturn:
    """Say hello, then compile what is asked for, until the stream ends: the process ends with it, whatever it does."""
    to_parent = os.dup(1)
    os.dup2(2, 1)  # Numba prints what its settings ask for
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    writing = threading.Lock()

    def receive() -> None:
        try:
            while True:
                requests.put(pickle.load(stream))
        finally:
            writing.acquire(timeout=1)  # an entry of the cache is written to its end
            os._exit(0)

    def send(symbol: str, code: bytes) -> None:
        content = answer(identity(), symbol, code)
        while content:
            content = content[os.write(to_parent, content) :]

    try:
        threading.Thread(target=receive, daemon=True).start()
        send("", b"")
        while True:
            function, definitions = requests.get(timeout=IDLE)
            code = _compiled(function, definitions)
            if code:
                with writing:
                    cache.write(function.symbol, code)
            send(function.symbol, code)
    finally:
        os._exit(0)


def _compiled(function: Any, definitions: Any) -> bytes:
    """Return the object of a function, or none where it cannot be compiled or the package has changed meanwhile."""
    try:
        from . import compiler  # imports Numba

        for definition in definitions:
            own.define(definition)
        ((_, code),) = compiler.compiled([function])
    except Exception:
        return b""
    unchanged = cache.stamped() and cache.package_stamp() == cache.STAMP  # modules were imported after the first look
    return code if unchanged else b""
