"""Train and choose multi-label classifiers that recall the rare.

>>> from rarecall import losses, metrics, data

The submodules load PyTorch only when they are used, so that `import rarecall` and
`rarecall --help` answer at once.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
__all__ = ["__version__", "data", "errors", "labels", "losses", "metrics", "models", "reports", "studies"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"rarecall.{name}")
    raise AttributeError(f"module 'rarecall' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
