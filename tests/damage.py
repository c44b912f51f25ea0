"""Small data sets of every format, damaged: reading them gives a whole table or one line, and nothing else.

`tests/test_fuzz.py` does this for a bounded number of random damages, `fuzz/parsers.py` for as long as one likes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rarecall import data
from rarecall.errors import RarecallError
from rarecall.images.decoding import SUFFIXES

# What parsers stumble over: numbers that are too large, paths that lead out, text that is none.
TOKENS = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"../../etc/hostname", b"/etc/hostname", b"-1", b"0", b"2", b"1e999",
    b"nan", b"99999999999999999999999", b"\n", b"\r\n", b",,,,", b'"', b"'", b"{", b"[[[[[[[[", b"<a>", b"%s%n",
    "é\u2028".encode(), b" " * 5000, b"train", b"null", b"true",
)  # fmt: skip
LONGEST_MESSAGE = 2000


class Sample(NamedTuple):
    """A small data set: how it is loaded, and the files of it that are damaged."""

    spec: str
    options: Mapping[str, Any]
    files: Mapping[Path, bytes]


Writer = Callable[[Path], tuple[str, Mapping[str, Any]]]


def sample_of(writer: Writer, folder: Path) -> Sample:
    """Have a data set written, and check that it can be read whole."""
    folder.mkdir(parents=True, exist_ok=True)
    spec, options = writer(folder)
    files = {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
    annotations = {file: content for file, content in files.items() if file.suffix.lower() not in SUFFIXES}
    check_table(data.load(spec, **options))
    return Sample(spec, options, annotations or files)


def damaged(content: bytes, kind: int, place: int, length: int, token: int) -> bytes:
    """A file's bytes with one damage.

    >>> damaged(b"abcdef", 1, 2, 2, 0)
    b'abef'
    """
    place, length = place % (len(content) + 1), length % 64
    word = TOKENS[token % len(TOKENS)]
    before, after = content[:place], content[place + length :]
    return (
        before,  # cut short
        before + after,  # something is missing
        before + word + after,  # something else stands there
        before + word + content[place:],  # something stands there besides
        before + content[place : place + length] * 3 + after,  # something stands there three times
        before + bytes(byte ^ (1 << token % 8) for byte in content[place : place + length]) + after,  # bits are flipped
        word * 40,  # nothing of it is left
    )[kind % 7]


def attempt(sample: Sample, file: Path, content: bytes) -> None:
    """Load the data set with other bytes in one of its files: a whole table, or one line."""
    file.write_bytes(content)
    try:
        table = data.load(sample.spec, **sample.options)
    except RarecallError as error:
        message = str(error)
        assert message, "an empty message"
        assert len(message) < LONGEST_MESSAGE, message
    else:
        check_table(table)
    finally:
        file.write_bytes(sample.files[file])


def check_table(table: data.LabelTable) -> None:
    """What holds of every table."""
    assert table.labels.shape == (len(table.items), len(table.names))
    assert table.labels.dtype == np.int8
    assert set(np.unique(table.labels).tolist()) <= {-1, 0, 1}
    assert set(np.unique(table.split).tolist()) <= {"train", "val", "test"}
    assert all(isinstance(item, str) for item in table.items)
    assert all(isinstance(name, str) for name in table.names)
    assert all(len(column) == len(table) for column in table.columns.values())
    assert table.features is None or np.isfinite(table.features).all()
