"""Where a network runs, and on how many cores."""

import os

import torch

from rarecall.errors import OptionError, unknown_name

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one.

    Raises:
        OptionError: an unknown name, or a GPU that is not there.
    """
    if name not in DEVICES:
        raise OptionError(unknown_name("device", name, DEVICES))
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("device cuda: PyTorch finds no GPU here: leave it out to work on the CPU")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
