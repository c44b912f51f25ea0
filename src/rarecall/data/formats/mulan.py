"""Mulan's multi-label data: ARFF files (dense or sparse) with an XML list of the labels.

Tsoumakas et al., Mulan: a Java library for multi-label learning, JMLR 2011. A name with `train` or `test` in
it says the part; a label written `?` is unknown. Labels are 0 and 1, or true and false, or yes and no.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rarecall.data.formats._files import Files
from rarecall.data.table import PART_NAMES, PARTS, LabelTable
from rarecall.errors import DataError, listing
from rarecall.labels import ABSENT, PRESENT, UNKNOWN

NAME = "mulan"
LABEL_WORDS = {"true": PRESENT, "yes": PRESENT, "false": ABSENT, "no": ABSENT}
_ATTRIBUTE = re.compile(r"@attribute\s+(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|(\S+))\s+(.+)", re.IGNORECASE)


@dataclass(frozen=True)
class _Attribute:
    name: str
    values: dict[str, float] | None  # of a nominal attribute; None for a numeric one


def recognises(path: Path) -> bool:
    """A folder with .arff files and one .xml, or one of those files."""
    if path.is_dir():
        return any(path.glob("*.arff")) and any(path.glob("*.xml"))
    return path.suffix.lower() == ".arff"


def read(path: Path) -> LabelTable:
    """Read every ARFF file of the folder, or the one named."""
    folder = path if path.is_dir() else path.parent
    files = (
        sorted(folder.glob("*.arff"), key=lambda file: (PARTS.index(_part(file)), file)) if path.is_dir() else [path]
    )
    lists = sorted(folder.glob("*.xml"))
    if not files or len(lists) != 1:
        raise DataError(
            f"{folder}: {len(files)} .arff and {len(lists)} .xml files: expected ARFF files and one XML list"
        )
    names = _label_names(folder, lists[0].name)
    tables = {file: _read_arff(file, names) for file in files}
    (first, (attributes, _)), *others = tables.items()
    for file, (found, _) in others:
        if [attribute.name for attribute in found] != [attribute.name for attribute in attributes]:
            raise DataError(f"{file}: {len(found)} attributes that differ from the {len(attributes)} of {first.name}")
    place = {attribute.name: position for position, attribute in enumerate(attributes)}
    if missing := [name for name in names if name not in place]:
        raise DataError(f"{lists[0]}: labels that {first.name} has no attribute for: {listing(missing)}")
    columns = [place[name] for name in names]
    values = np.concatenate([rows for _, rows in tables.values()])
    features = np.delete(values, columns, axis=1)
    if not np.isfinite(features).all():
        row = int((~np.isfinite(features)).any(1).argmax())
        raise DataError(f"{path}: data row {row + 1} has a missing or infinite feature: fill it before use")
    split = np.concatenate([np.full(len(rows), _part(file)) for file, (_, rows) in tables.items()])
    items = [f"{file.stem} {row + 1}" for file, (_, rows) in tables.items() for row in range(len(rows))]
    return LabelTable(
        items, names, _as_labels(values[:, columns], names, path), split, f"{NAME}:{path}", None, features
    )


def _part(file: Path) -> str:
    words = re.split(r"[^a-z]+", file.stem.lower())
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), "train")


def _label_names(folder: Path, file: str) -> list[str]:
    root = Files(folder).xml(file)
    names = [
        element.attrib["name"] for element in root.iter() if element.tag.endswith("label") and "name" in element.attrib
    ]
    if not names:
        raise DataError(f"{folder / file}: no <label name=…> in it: expected Mulan's list of labels")
    return names


def _read_arff(file: Path, names: list[str]) -> tuple[list[_Attribute], np.ndarray]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    attributes, start = _header(lines, file)
    attributes = [_as_label(one, file) if one.name in names else one for one in attributes]
    rows = [(number, line) for number, line in enumerate(lines[start:], start + 1) if line.strip() and line[0] != "%"]
    if not rows:
        raise DataError(f"{file}: no data rows after @data")
    _require_absent_first([one for one in attributes if one.name in names], rows, file)
    values = np.zeros((len(rows), len(attributes)), np.float32)
    for row, (number, line) in zip(values, rows, strict=True):
        try:
            _fill(row, line.strip(), attributes)
        except (ValueError, IndexError, KeyError):
            raise DataError(
                f"{file} line {number}: not a row of {len(attributes)} values: {line.strip()[:60]!r}"
            ) from None
    return attributes, values


def _header(lines: list[str], file: Path) -> tuple[list[_Attribute], int]:
    attributes: list[_Attribute] = []
    for number, line in enumerate(lines):
        text = line.strip()
        if text.lower() == "@data":
            return attributes, number + 1
        if text.lower().startswith("@attribute"):
            match = _ATTRIBUTE.match(text)
            if match is None:
                raise DataError(f"{file} line {number + 1}: not an attribute: {text[:60]!r}")
            name = next(group for group in match.groups()[:3] if group is not None)
            attributes.append(_Attribute(re.sub(r"\\(.)", r"\1", name), _domain(match[4].strip())))
    raise DataError(f"{file}: no @data line: the file is cut short, or not ARFF")


def _domain(text: str) -> dict[str, float] | None:
    """The number of each nominal value: the value itself where all are numbers, else its place."""
    if not text.startswith("{"):
        return None
    values = [value.strip().strip("'\"") for value in text.strip("{} ").split(",")]
    try:
        return {value: float(value) for value in values}
    except ValueError:
        return {value: float(place) for place, value in enumerate(values)}


def _as_label(attribute: _Attribute, file: Path) -> _Attribute:
    """A label's attribute, whose values say by their names and not by their order what is present."""
    if attribute.values is None:
        return attribute
    values = {value: _label_value(value) for value in attribute.values}
    if wrong := [value for value, number in values.items() if number is None]:
        raise DataError(
            f'{file}: label "{attribute.name}" has the value {wrong[0][:60]!r}: write 0 and 1, true and false, or yes '
            "and no"
        )
    return _Attribute(attribute.name, {value: float(number) for value, number in values.items() if number is not None})


def _label_value(text: str) -> float | None:
    if text.lower() in LABEL_WORDS:
        return LABEL_WORDS[text.lower()]
    try:
        return float(text) if float(text) in (PRESENT, ABSENT) else None
    except ValueError:
        return None


def _require_absent_first(labels: list[_Attribute], rows: list[tuple[int, str]], file: Path) -> None:
    """Refuse sparse rows where a value that is left out, which is the first of its attribute, would be present."""
    number = next((number for number, line in rows if line.strip().startswith("{")), None)
    wrong = [one.name for one in labels if one.values and next(iter(one.values.values())) == PRESENT]
    if number is not None and wrong:
        raise DataError(
            f"{file} line {number}: sparse, but the first value of {listing(wrong)} is the present one, which ARFF "
            "takes for what is left out: write {0,1}"
        )


def _fill(row: np.ndarray, line: str, attributes: list[_Attribute]) -> None:
    if line.startswith("{"):
        pairs = [pair.split(None, 1) for pair in line[1 : line.rindex("}")].split(",") if pair.strip()]
        for key, value in pairs:
            if int(key) < 0:
                raise IndexError(key)
            row[int(key)] = _number(value.strip(), attributes[int(key)])
        return
    cells = line.split(",")
    if len(cells) != len(row):
        raise ValueError(len(cells))
    row[:] = [_number(cell.strip(), attribute) for cell, attribute in zip(cells, attributes, strict=True)]


def _number(text: str, attribute: _Attribute) -> float:
    if text == "?":
        return float("nan")
    if attribute.values is None:
        return float(text)
    return attribute.values[text.strip("'\"")]


def _as_labels(values: np.ndarray, names: list[str], path: Path) -> np.ndarray:
    wrong = ~(np.isin(values, (0, 1)) | np.isnan(values))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(f'{path} data row {row + 1}, label "{names[column]}": {values[row, column]:g} is not 0, 1 or ?')
    return np.select([np.isnan(values), values == 1], [UNKNOWN, PRESENT], ABSENT).astype(np.int8)
