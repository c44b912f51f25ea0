"""What the long-tailed VOC and COCO share: the published list of training images, and the counts that follow.

Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020. The images
were drawn at random once, so only the published lists define the benchmark. Their labels come from the user's own
VOC and COCO. COCO's list is named .pkl and is text; where somebody made it a pickle it is read as data, by a
whitelist: nothing in it can be executed.
"""

import io
import pickletools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rarecall.data.formats._files import Files
from rarecall.data.formats._objects import repeated
from rarecall.data.merging import reroot
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing
from rarecall.labels import PRESENT, TIERS, LabelMatrix, tiers

HOME = "https://github.com/wutong16/DistributionBalancedLoss"
LICENCE = "lists: non-commercial research and educational purposes only"
LARGEST_LIST = 1 << 26  # bytes
NEWEST_PROTOCOL = 5
PICKLE_STARTS = (b"\x80", b"(", b"]", b")")
_WRITTEN = frozenset(("INT", "LONG"))
_NUMBERS = frozenset(("BININT", "BININT1", "BININT2", "LONG1", "LONG4"))
_TEXTS = frozenset(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_DECIMAL = re.compile(rb"(-?(?:0|[1-9][0-9]*))L?\n")  # `01` would be a truth value
_MARK = object()
_OPCODES = {one.code.encode("latin-1"): one for one in pickletools.opcodes}


def read_ids(file: Path) -> list[str]:
    """The entries of a list of image ids: a text of one on each line, or a pickle of integers.

    Raises:
        DataError: it is neither, it is empty, or an id stands twice.
    """
    source = Files(file.parent)
    data = source.read(file.name)
    if len(data) > LARGEST_LIST:
        raise DataError(f"{file}: {len(data):,} bytes: not a list of images")
    if data.startswith(PICKLE_STARTS):
        ids = [str(number) for number in read_integer_pickle(data, str(file))]
    else:
        ids = [_word(line, file, number) for number, line in source.lines(file.name)]
    if not ids:
        raise DataError(f"{file}: the file is empty: expected one image id on each line")
    if twice := repeated(ids):
        raise DataError(f"{file}: ids stand twice: {listing(twice)}")
    return ids


def _word(line: str, file: Path, number: int) -> str:
    if not line.replace("_", "").isalnum() or not line.isascii():
        raise DataError(f"{file} line {number}: {line[:80]!r} is not an image id")
    return line


def list_file(source: Files, ids: str | None, names: Sequence[str]) -> Path:
    """The list that is given, or where the authors have it put.

    Raises:
        DataError: there is none.
    """
    found = Path(ids).expanduser() if ids else None
    if found is None and not source.is_archive:
        found = next((source.path / name for name in names if (source.path / name).is_file()), None)
    if found is None:
        raise DataError(
            f"{source.path}: which images are the training part is in the authors' list ({HOME}): "
            f"give it, as in ids={names[0]}"
        )
    if not found.is_file():
        raise DataError(f"{found}: no such file: give the authors' list of training images as ids")
    return found


def counts(labels: LabelMatrix, test: int) -> dict[str, int]:
    """What the paper states of a list: its images, its tiers and its rarest and commonest class."""
    positives = (labels == PRESENT).sum(0)
    names = tiers(positives)
    return {
        "train images": len(labels),
        "test images": test,
        **{f"{tier} classes": names.count(tier) for tier in TIERS},
        "positives of the rarest class": int(positives.min()),
        "positives of the commonest class": int(positives.max()),
    }


def join(train: LabelTable, test: LabelTable, source: str, notes: tuple[str, ...]) -> LabelTable:
    """One table of two with the same classes, relative to the folder above both."""
    root, items, tops = reroot([train, test])
    return LabelTable(
        items=items,
        tops=tops,
        names=train.names,
        labels=np.concatenate([train.labels, test.labels]),
        split=np.concatenate([train.split, test.split]),
        source=source,
        root=root,
        notes=notes,
    )


def part_table(items: list[str], names: Sequence[str], labels: LabelMatrix, part: str, root: Path) -> LabelTable:
    """The table of one part."""
    return LabelTable(items, names, labels, np.full(len(items), part), root=root)


def read_integer_pickle(data: bytes, where: str = "pickle") -> list[int]:
    """The integers of a pickled list or tuple, of any protocol. Nothing is looked up, called or built.

    Raises:
        DataError: it is damaged, holds something else, or an opcode that such a list does not need.

    >>> import pickle
    >>> read_integer_pickle(pickle.dumps([554625, 118113]))
    [554625, 118113]
    >>> read_integer_pickle(pickle.dumps(print))
    Traceback (most recent call last):
    rarecall.errors.DataError: pickle: opcode STACK_GLOBAL is none that a list of integers needs: not read
    """
    found = _Machine(data, where).run()
    if not isinstance(found, list | tuple):
        raise DataError(f"{where}: holds one {type(found).__name__}, not a list of integers")
    numbers = [int(one) if isinstance(one, str) and one.isdecimal() and len(one) < 20 else one for one in found]
    if strange := [type(one).__name__ for one in numbers if type(one) is not int]:
        raise DataError(f"{where}: holds a list with a {strange[0]} in it, not of integers alone")
    return numbers


class _Machine:
    """The part of pickle's stack machine that lists, tuples, integers and texts need."""

    def __init__(self, data: bytes, where: str) -> None:
        self.stream, self.where = io.BytesIO(data), where
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the pickle holds."""
        try:
            while (code := self.stream.read(1)) != b".":
                self._step(code)
            (found,) = self.stack
        except DataError:
            raise
        except (ValueError, IndexError, KeyError, AttributeError, OverflowError) as error:
            raise DataError(f"{self.where}: damaged as a pickle: {type(error).__name__}: fetch it again") from None
        if found is _MARK or self.stream.read(1):
            raise DataError(f"{self.where}: damaged as a pickle: more after its end: fetch it again")
        return found

    def _step(self, code: bytes) -> None:
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise DataError(f"{self.where}: damaged as a pickle at byte {self.stream.tell()}: fetch it again")
        name = opcode.name
        if name not in _STEPS:
            raise DataError(f"{self.where}: opcode {name} is none that a list of integers needs: not read")
        # The argument is read only here, so that none of a refused opcode is looked at.
        argument = None if opcode.arg is None or name in _WRITTEN else opcode.arg.reader(self.stream)
        _STEPS[name](self, argument)

    def _written(self) -> None:
        found = _DECIMAL.fullmatch(self.stream.readline())
        if found is None:
            raise ValueError
        self.stack.append(int(found[1]))

    def _put(self, place: int) -> None:
        self._require(place >= 0 and self.stack[-1] is not _MARK)
        self.memo[place] = self.stack[-1]

    def _above_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def _last(self, number: int) -> None:
        if len(self.stack) < number:
            raise IndexError
        start = len(self.stack) - number
        self.stack[start:] = [tuple(self.stack[start:])]

    def _extend(self, values: list[Any]) -> None:
        self._require(isinstance(self.stack[-1], list))
        self.stack[-1].extend(values)

    def _require(self, sound: bool) -> None:
        if not sound:
            raise ValueError


_Step = Callable[[_Machine, Any], Any]
_STEPS: dict[str, _Step] = {
    "PROTO": lambda machine, version: machine._require(version <= NEWEST_PROTOCOL),
    "FRAME": lambda *_: None,
    **dict.fromkeys(_WRITTEN, lambda machine, _: machine._written()),
    **dict.fromkeys(_NUMBERS | _TEXTS, lambda machine, value: machine.stack.append(value)),
    **dict.fromkeys(_PUTS, lambda machine, place: machine._put(place)),
    **dict.fromkeys(_GETS, lambda machine, place: machine.stack.append(machine.memo[place])),
    "MEMOIZE": lambda machine, _: machine._put(len(machine.memo)),
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "LIST": lambda machine, _: machine.stack.append(machine._above_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine._above_mark())),
    "TUPLE1": lambda machine, _: machine._last(1),
    "TUPLE2": lambda machine, _: machine._last(2),
    "TUPLE3": lambda machine, _: machine._last(3),
    "APPEND": lambda machine, _: machine._extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine._extend(machine._above_mark()),
}
