"""Train and choose multi-label classifiers that recall the rare.

>>> from rarecall import losses, metrics, data

`rarecall.load(run)` is the model of a run folder, ready to predict.

The submodules load PyTorch only when they are used, so that `import rarecall` and
`rarecall --help` answer at once.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "audit",
    "data",
    "errors",
    "images",
    "inference",
    "labels",
    "load",
    "losses",
    "metrics",
    "models",
    "reports",
    "statistics",
    "studies",
    "study",
    "train",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in ("study", "train"):
        return getattr(import_module("rarecall.api"), name)
    if name == "load":
        return import_module("rarecall.inference").Predictor.load
    if name in __all__:
        return import_module(f"rarecall.{name}")
    raise AttributeError(f"module 'rarecall' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
