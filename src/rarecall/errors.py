"""Every error that a user can cause.

    RarecallError
    ├── OptionError   (ValueError)   an option that is unknown or out of range
    ├── ShapeError    (ValueError)   tensors that do not fit together
    ├── DataError                    a data set that cannot be read as what it should be
    ├── ModelError                   a backbone, a weights file or a run folder that cannot be used
    ├── TrainingError                a training that cannot go on
    └── StudyError                   a study that cannot go on

A message is one line that says what, where and what to do; the command line prints it and exits with 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RarecallError(Exception):
    """Base of every error that a user can cause."""


class OptionError(RarecallError, ValueError):
    """An option that is unknown or out of range."""


class ShapeError(RarecallError, ValueError):
    """Tensors or arrays that do not fit together."""


class DataError(RarecallError):
    """A data set that cannot be read as what it should be."""


class ModelError(RarecallError):
    """A backbone, a weights file or a run folder that cannot be used."""


class TrainingError(RarecallError):
    """A training that cannot go on: its folder, its loss, its memory or its workers."""


class StudyError(RarecallError):
    """A study that cannot go on: its folder or its workers."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among the known ones, with the nearest match.

    >>> unknown_name("loss", "two-wya", ["focal", "two-way"])
    "unknown loss 'two-wya': did you mean 'two-way'? Known: focal, two-way"
    """
    known = list(known)
    if not known:
        return f"unknown {kind} {name!r}: there is none to give"
    folded = {option.lower(): option for option in known}
    nearest = get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    guess = f"did you mean {folded[nearest[0]]!r}? " if nearest else ""
    return f"unknown {kind} {name!r}: {guess}Known: {', '.join(known)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of its GPU was too small.

    >>> is_out_of_memory(RuntimeError("unsupported memory format option"))
    False
    """
    words = str(error)
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


def counted(number: int, one: str, many: str) -> str:
    """A number and what there is so many of, perhaps with the verb.

    >>> counted(1, "image is", "images are"), counted(1200, "image is", "images are")
    ('1 image is', '1,200 images are')
    """
    return f"{number:,} {one if number == 1 else many}"


def listing(names: Iterable[str], most: int = 5) -> str:
    """The first few names and how many more there are.

    >>> listing(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
