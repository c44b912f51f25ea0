"""The sizes of blocks that a package works in, found by themselves, so that no law about them forgets one."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

Sizes = list[tuple[ModuleType, str]]


def block_sizes(package: ModuleType) -> Sizes:
    """The constants of a package's modules that are powers of two from 1024 on: what else would such a number be?"""
    files = sorted(Path(package.__path__[0]).glob("_*.py"))
    modules = [importlib.import_module(f"{package.__name__}.{file.stem}") for file in files if file.stem != "__init__"]
    return [(module, name) for module in modules for name, value in vars(module).items() if _is_size(value)]


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 1024 and value & (value - 1) == 0


@contextmanager
def working_on(sizes: Sizes, entries: object) -> Iterator[None]:
    """Let every one of these blocks be of so many entries, or bytes."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in sizes:
            patch.setattr(module, name, entries)
        yield
