"""Where a network runs."""

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
