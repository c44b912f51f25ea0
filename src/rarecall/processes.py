"""Worker processes: forked from one that has imported PyTorch, which costs more than many a study's training.

Nothing here imports PyTorch, so that a command can have that process begin before it does so itself.
"""

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from types import ModuleType

PRELOADED = ["rarecall.studies.runner"]


def context() -> BaseContext:
    """How workers start; where processes cannot be forked, each imports everything itself."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    own = multiprocessing.get_context("forkserver")
    own.set_forkserver_preload(PRELOADED)
    return own


def warm_up() -> None:
    """Let the process that workers are forked from begin its imports now."""
    if context().get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    with starting():
        forkserver.ensure_running()


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Start processes that no Ctrl-C reaches while they import, and that do not run the caller's script again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        with _interrupts_held():
            yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep a Ctrl-C for afterwards; processes started meanwhile never get one, not even while they import."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
