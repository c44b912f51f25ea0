"""Several data sets as one, perhaps each translated by a taxonomy: a TOML file that lists them.

classes = ["hasHat", "hasBackpack"]            # the ones to keep, in order; default: all

[[source]]
data = "pa100k:../PA-100K"                     # relative to this file
taxonomy = "pa100k-to-20"

[[source]]
data = "market1501:../Market-1501"
taxonomy = "my-taxonomy.toml"                  # relative to this file, too
name = "market"                                # in the column `source`; default: the format
options = { labels = "attributes" }            # of the format
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from rarecall.data import taxonomy
from rarecall.data.builtin import digits, is_builtin
from rarecall.data.merging import merge
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, RarecallError, unknown_name

NAME = "merge"
FILE = "merge.toml"
_being_read: ContextVar[tuple[Path, ...]] = ContextVar("being_read", default=())


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    data: str
    taxonomy: str | None = None
    name: str | None = None
    options: dict[str, Any] = {}


class _MergeFile(msgspec.Struct, forbid_unknown_fields=True):
    source: list[_Entry]
    classes: list[str] | None = None


def recognises(path: Path) -> bool:
    """A .toml file, or a folder with a merge.toml."""
    return (path.is_file() and path.suffix.lower() == taxonomy.SUFFIX) or (path / FILE).is_file()


def read(path: Path) -> LabelTable:
    """Read all sources and merge them (`rarecall.data.merging.merge` says how)."""
    file = path / FILE if path.is_dir() else path
    with _once(file):
        listed = _listed(file)
        tables = [_read(source, file, number) for number, source in enumerate(listed.source, start=1)]
    called = [source.name for source in listed.source if source.name is not None]
    if called and len(called) < len(tables):
        raise DataError(f"{file}: {len(called)} of {len(tables)} sources have a name: name all or none")
    try:
        merged = merge(tables, listed.classes, sources=called or None)
    except RarecallError as error:
        raise DataError(f"{file}: {error}") from None
    return replace(merged, source=f"{NAME}:{path}")


@contextmanager
def _once(file: Path) -> Iterator[None]:
    """Refuse a file that is being read already: it would name itself without end."""
    above, own = _being_read.get(), file.resolve()
    if own in above:
        raise DataError(f"{file}: is a source of itself: name the data sets that it is made of")
    before = _being_read.set((*above, own))
    try:
        yield
    finally:
        _being_read.reset(before)


def _listed(file: Path) -> _MergeFile:
    try:
        listed = msgspec.convert(taxonomy.read_toml(file), _MergeFile)
    except msgspec.ValidationError as error:
        raise DataError(f'{file}: not a list of sources: {error}: write [[source]] and data = "format:path"') from None
    if not listed.source:
        raise DataError(f'{file}: lists no source: write [[source]] and data = "format:path" for each')
    return listed


def _read(source: _Entry, file: Path, number: int) -> LabelTable:
    try:
        rules = None if source.taxonomy is None else _taxonomy(source.taxonomy, file)
        table = _load(source, rules, file)
        return table if rules is None else rules.apply(table)
    except RarecallError as error:
        raise DataError(f"{file} source {number}: {error}") from None


def _load(source: _Entry, rules: taxonomy.Taxonomy | None, file: Path) -> LabelTable:
    from rarecall.data import formats  # which has this module in its list

    if is_builtin(source.data):
        if source.options:
            raise OptionError(f"{source.data}: {unknown_name('option', next(iter(source.options)), ())}")
        return digits()
    name, colon, rest = source.data.partition(":")
    if colon and name in formats.FORMATS:
        spec = f"{name}:{file.parent / Path(rest).expanduser()}"
    else:
        spec = str(file.parent / Path(source.data).expanduser())
        name = formats.recognise(Path(spec)).NAME if Path(spec).exists() else ""
    options = {key: _beside(value, file) for key, value in source.options.items()}
    if rules is not None and rules.source == name:  # what the rules need, unless it is said otherwise
        options = {**rules.options, **options}
    return formats.read(spec, **options)


def _taxonomy(name: str, file: Path) -> taxonomy.Taxonomy:
    if name.lower().endswith(taxonomy.SUFFIX):
        return taxonomy.load(file.parent / Path(name).expanduser())
    return taxonomy.load(name)


def _beside(value: Any, file: Path) -> Any:
    """What begins with ./ or ../ as a path from the file; anything else as it is."""
    return str(file.parent / value) if isinstance(value, str) and value.startswith(("./", "../")) else value
