"""A data set as it was downloaded: a folder, or a zip or tar that stays packed."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import msgspec

from rarecall.data.csv_rows import rows_of
from rarecall.data.formats import _matlab
from rarecall.errors import DataError, counted, listing
from rarecall.images.containers import ARCHIVES, UnreadableItem, is_unsafe, members, read_member
from rarecall.images.decoding import SUFFIXES

LARGEST_FILE = 1 << 32  # bytes of an annotation file; what claims more is refused
LARGEST_PACKED = 1 << 30  # bytes of one in an archive
LONGEST_LINE = 1 << 20  # characters
LONGEST_NAME = 255  # characters of a name in a message, as a damaged list may make one of any length
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


class Files:
    """Files by their names relative to a folder or to the top of an archive, with `/` between folders.

    Args:
        path: the folder, or a .zip or uncompressed .tar.
        top: a folder inside that stands for the whole.

    Raises:
        DataError: it is neither, or it is damaged.
    """

    def __init__(self, path: Path, top: str = "") -> None:
        self.path, self.top = path, f"{top.strip('/')}/" if top.strip("/") else ""
        self.is_archive = path.is_file()
        self._members: Mapping[str, int] = {}
        if not self.is_archive:
            return
        if path.suffix.lower() in COMPRESSED:
            raise DataError(f"{path}: compressed as a whole, so no image can be read from it alone: unpack it")
        if path.suffix.lower() not in ARCHIVES:
            raise DataError(f"{path}: neither a folder nor a .zip or .tar")
        try:
            self._members = members(path)
        except UnreadableItem as error:
            raise DataError(f"{path}: {error}: fetch it again") from None

    @property
    def root(self) -> Path:
        """What the items of a table are relative to."""
        return self.path.parent if self.is_archive else self.path

    def below(self, top: str) -> "Files":
        """The same files seen from a folder inside."""
        other = object.__new__(Files)
        other.__dict__.update(self.__dict__)
        other.top = f"{self.top}{top.strip('/')}/" if top.strip("/") else self.top
        return other

    def item(self, name: str) -> str:
        """How a table calls the file."""
        return f"{self.path.name}/{self.top}{name}" if self.is_archive else f"{self.top}{name}"

    def has(self, name: str) -> bool:
        """Whether there is such a file, or a folder with something in it."""
        whole = f"{self.top}{name}"
        if is_unsafe(whole):
            return False
        if not self.is_archive:
            return _is_there(self.path / whole)
        return whole in self._members or any(member.startswith(whole.rstrip("/") + "/") for member in self._members)

    def first(self, names: Iterable[str]) -> str | None:
        """The first of some names that there is."""
        return next((name for name in names if self.has(name)), None)

    def need(self, *names: str) -> str:
        """The first of some names that there is.

        Raises:
            DataError: there is none.
        """
        found = self.first(names)
        if found is None:
            raise DataError(f"{self.path}: no {' or '.join(names)} in it: expected the layout that its owners publish")
        return found

    def files(self, folder: str = "", suffixes: Iterable[str] = SUFFIXES) -> list[str]:
        """Names of the files below a folder with one of the suffixes, sorted; hidden ones are left out."""
        wanted = tuple(suffixes)
        below = f"{folder.strip('/')}/" if folder.strip("/") else ""
        if self.is_archive:
            start = f"{self.top}{below}"
            names: Iterable[str] = (name[len(self.top) :] for name in self._members if name.startswith(start))
        else:
            base = self.path / self.top
            found = (base / below).rglob("*") if (base / below).is_dir() else iter(())
            names = (path.relative_to(base).as_posix() for path in found if path.is_file())
        return sorted(
            name
            for name in names
            if name.lower().endswith(wanted) and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
        )

    def where(self, name: str) -> str:
        """How a message calls the file."""
        return f"{self.path}/{self.top}{name}"

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: there is none, or it is too large.
        """
        whole = f"{self.top}{name}"
        if is_unsafe(whole):
            raise DataError(f"{self.path}: {name[:LONGEST_NAME]!r} leads out of it")
        if self.is_archive:
            try:
                data = read_member(self.path, whole, LARGEST_PACKED)
            except UnreadableItem as error:
                raise DataError(f"{self.where(name[:LONGEST_NAME])}: {error}") from None
            assert isinstance(data, bytes)
            return data
        file = self.path / whole
        if not _is_there(file) or not file.is_file():
            shown = self.where(name[:LONGEST_NAME])
            raise DataError(f"{shown}: no such file: expected the layout that its owners publish")
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise DataError(f"{file}: a link that leads out of the data's folder")
        if file.stat().st_size > LARGEST_FILE:
            raise DataError(f"{file}: {file.stat().st_size:,} bytes, more than annotations have")
        return file.read_bytes()

    def text(self, name: str) -> str:
        """A UTF-8 text, without the mark that may stand before it.

        Raises:
            DataError: it is not UTF-8.
        """
        data = self.read(name)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.where(name)}: byte {error.start} is not UTF-8: save the file as UTF-8") from None

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """The lines of a text that are not blank, with their numbers from 1.

        Raises:
            DataError: a line is longer than any that belongs there.
        """
        for number, line in enumerate(self.text(name).splitlines(), start=1):
            if len(line) > LONGEST_LINE:
                raise DataError(f"{self.where(name)} line {number}: {len(line):,} characters: not a list")
            if line.strip():
                yield number, line.strip()

    def rows(self, name: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
        """The rows of a CSV with their numbers from 1.

        Raises:
            DataError: it cannot be read as CSV.
        """
        reader = csv.reader(io.StringIO(self.text(name), newline=""), delimiter=delimiter)
        try:
            for number, row in enumerate(rows_of(reader), start=1):
                if row:
                    yield number, row
        except csv.Error as error:
            raise DataError(f"{self.where(name)} row {reader.line_num}: not readable as CSV: {error}") from None

    def json(self, name: str, type_: Any = Any) -> Any:
        """A JSON document; given a type of msgspec, only what that names is kept, and it is checked.

        Raises:
            DataError: it is damaged, or not of the type.
        """
        try:
            return msgspec.json.decode(self.read(name), type=type_)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise DataError(f"{self.where(name)}: not the JSON that is expected here: {error}") from None

    def xml(self, name: str) -> ElementTree.Element:
        """The root of an XML document without entities, which could grow without end.

        Raises:
            DataError: it is damaged, or declares entities.
        """
        data = self.read(name)

        def refuse(*_: object) -> None:
            raise DataError(f"{self.where(name)}: declares entities, which no annotation needs")

        parser = expat.ParserCreate()  # first, as in UTF-16 no search among the bytes would find them
        parser.EntityDeclHandler = refuse
        try:
            parser.Parse(data, True)
            return ElementTree.fromstring(data)
        except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
            raise DataError(f"{self.where(name)}: not readable as XML: {error}") from None

    def matlab(self, name: str) -> dict[str, Any]:
        """The variables of a MATLAB file up to version 7.

        Raises:
            DataError: it is damaged, or of version 7.3.
        """
        return _matlab.load(self.read(name), self.where(name))


def _is_there(path: Path) -> bool:
    """Whether there is a file or a folder of a name, which a damaged list may have made longer than any can be."""
    try:
        return path.exists()
    except OSError:
        return False


def count_notes(found: Mapping[str, int], published: Mapping[str, int]) -> tuple[str, ...]:
    """A sentence on the counts that differ from the published ones, if any does.

    >>> count_notes({"train images": 90}, {"train images": 100})
    ('not as published: 90 of 100 train images (10 missing)',)
    """
    differing = []
    for what, wanted in published.items():
        number = found.get(what, 0)
        if number != wanted:
            more = f"{wanted - number:,} missing" if number < wanted else f"{number - wanted:,} too many"
            differing.append(f"{number:,} of {wanted:,} {what} ({more})")
    return ("not as published: " + "; ".join(differing),) if differing else ()


def left_out_note(names: list[str], one: str, many: str, why: str) -> tuple[str, ...]:
    """A sentence on rows or files that are left out, if any is.

    >>> left_out_note(["a.jpg"], "image is", "images are", "in no part and left out")
    ('1 image is in no part and left out (a.jpg)',)
    """
    return (f"{counted(len(names), one, many)} {why} ({listing(names, 3)})",) if names else ()
