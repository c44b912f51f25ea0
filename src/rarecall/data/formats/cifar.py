"""CIFAR-10 and CIFAR-100 in their binary versions: records of one or two labels and 32 x 32 pixels.

Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from pathlib import Path

import numpy as np

from rarecall.data.formats import _layout
from rarecall.data.formats._files import Files, count_notes
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError
from rarecall.images.containers import CIFAR_LABELS

NAME = "cifar"
HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
LICENCE = "none stated"
PUBLISHED = {"train images": 50_000, "test images": 10_000}
TOPS = ("", "cifar-10-batches-bin", "cifar-100-binary")
TEN = [f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"]
HUNDRED = ["train.bin"], ["test.bin"]
TEN_NAMES, FINE_NAMES, COARSE_NAMES = "batches.meta.txt", "fine_label_names.txt", "coarse_label_names.txt"
PYTHON_TOPS = ("", "cifar-10-batches-py", "cifar-100-python")
PYTHON = (["data_batch_1", "batches.meta"], ["train", "test", "meta"])


def recognises(path: Path) -> bool:
    """A folder with the binary version; the Python version too, so that reading it says what to fetch."""
    return any(_layout.holds(path, [names], TOPS) for names in (TEN_NAMES, FINE_NAMES)) or _is_python(path)


def read(path: Path, *, labels: str = "fine") -> LabelTable:
    """Read it; an image is present in its class and absent in all others.

    Args:
        path: cifar-10-batches-bin or cifar-100-binary, or a folder that holds one of them.
        labels: of CIFAR-100: `fine` (100 classes) or `coarse` (20).
    """
    _layout.choose("labels", labels, ("fine", "coarse"))
    source, is_hundred = _binary(path)
    if labels == "coarse" and not is_hundred:
        raise OptionError("labels 'coarse': CIFAR-10 has one kind of labels only: leave the option out")
    train, test = HUNDRED if is_hundred else TEN
    codes = {file: _codes(source, file, 3074 if is_hundred else 3073) for file in (*train, *test) if source.has(file)}
    if not codes:
        raise DataError(f"{path}: none of {', '.join((*train, *test))} in it: expected the layout its owners publish")
    every = np.concatenate(list(codes.values()))
    split = np.repeat(["test" if file in test else "train" for file in codes], [len(one) for one in codes.values()])
    kinds = {"coarse": COARSE_NAMES, "fine": FINE_NAMES} if is_hundred else {"fine": TEN_NAMES}
    words = {kind: _words(source, file, every[:, column]) for column, (kind, file) in enumerate(kinds.items())}
    names, numbers = words[labels]
    found = {"train images": int((split == "train").sum()), "test images": int((split == "test").sum())}
    return LabelTable(
        items=[source.item(f"{file}/{row}") for file, one in codes.items() for row in range(len(one))],
        names=names,
        labels=_layout.one_hot(numbers, len(names)),
        split=split,
        source=f"{NAME}:{path}",
        root=source.root,
        columns={kind: np.array(known)[of_row] for kind, (known, of_row) in words.items() if is_hundred},
        notes=count_notes(found, PUBLISHED),
    )


def _binary(path: Path) -> tuple[Files, bool]:
    """The folder of the binary version, and whether it is CIFAR-100's."""
    if path.is_file():
        raise DataError(f"{path}: CIFAR's images are records of its files, so it is read from its folder: unpack it")
    for marker in (FINE_NAMES, TEN_NAMES):
        source = _layout.seek(path, [marker], TOPS)
        if source is not None:
            return source, marker == FINE_NAMES
    if _is_python(path):
        raise DataError(
            f"{path}: the Python version of CIFAR is pickled, and unpickling can run any program: "
            f"fetch the binary version (cifar-10-binary.tar.gz or cifar-100-binary.tar.gz) from {HOME}"
        )
    raise DataError(f"{path}: no {TEN_NAMES} or {FINE_NAMES} in it: expected CIFAR's binary version")


def _is_python(path: Path) -> bool:
    return any(all((path / top / name).is_file() for name in names) for top in PYTHON_TOPS for names in PYTHON)


def _codes(source: Files, file: str, length: int) -> np.ndarray:
    """The labels of a file's records, (records, 1 or 2)."""
    data = source.read(file)
    if not data or len(data) % length:
        raise DataError(f"{source.where(file)}: {len(data):,} bytes are not records of {length:,}: fetch it again")
    return np.frombuffer(data, np.uint8).reshape(-1, length)[:, : CIFAR_LABELS[length]].copy()


def _words(source: Files, file: str, codes: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The names of classes, and the class of each row."""
    names = [line for _, line in source.lines(file)]
    if codes.max() >= len(names):
        raise DataError(f"{source.where(file)}: {len(names)} names, but a record has class {codes.max()}, from 0")
    return names, codes.astype(np.int64)
