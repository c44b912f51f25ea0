"""The formats that are read, one module each: `NAME`, `recognises(path)` and `read(path, **options)`.

To add one, write such a module and name it in FORMATS; the order is the order of recognition.
"""

import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import numpy as np

from rarecall.data import storage
from rarecall.data.formats import (
    cifar,
    coco,
    coco_lt,
    csv_file,
    cub,
    deepfashion,
    dukemtmc,
    feature_table,
    hugging_face,
    image_folder,
    market1501,
    merged,
    mulan,
    nus_wide,
    pa100k,
    peta,
    table_file,
    tiny_imagenet,
    transfer,
    vaw,
    vispr,
    voc,
    voc_lt,
    webdataset,
    wider,
)
from rarecall.data.formats._files import COMPRESSED
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, unknown_name

GROUP = "group"  # the option of a format whose columns are classes unless they are named


class Format(Protocol):
    """What a format module has."""

    NAME: str
    recognises: Callable[[Path], bool]
    read: Callable[..., LabelTable]


FORMATS: dict[str, Format] = {
    module.NAME: cast(Format, module)
    for module in (
        storage,
        merged,
        pa100k,
        peta,
        market1501,
        dukemtmc,
        *(voc, voc_lt, coco, coco_lt, wider, vaw, vispr),
        *(nus_wide, cub, deepfashion, cifar, tiny_imagenet, webdataset, hugging_face, transfer),
        *(mulan, csv_file, feature_table, table_file, image_folder),
    )
}


def read(spec: str, *, group: str | None = None, **options: Any) -> LabelTable:
    """Read `path`, whose format is recognised, or `format:path`; `group` names the column that keeps rows together."""
    if not spec.strip():
        raise DataError("DATA is empty: give a path, or the built-in 'digits'")
    name, colon, rest = spec.partition(":")
    given = bool(colon) and (name in FORMATS or not Path(spec).exists())
    if given and name not in FORMATS:
        raise DataError(unknown_name("format", name, FORMATS) + " (or no such path: " + spec + ")")
    path = Path(rest if given else spec).expanduser()
    if not path.exists() and not (given and getattr(FORMATS[name], "PATTERNS", False)):
        raise DataError(f"{path}: no such file or folder: check the path, or use the built-in 'digits'")
    form = FORMATS[name] if given else recognise(path)
    known = {name: one.annotation for name, one in list(inspect.signature(form.read).parameters.items())[1:]}
    for option in options:
        if option not in known:
            raise OptionError(f"format {form.NAME}: {unknown_name('option', option, known)}")
    options = {option: _as(known[option], option, value) for option, value in options.items()}
    if group is None:
        return form.read(path, **options)
    if GROUP in known:
        return form.read(path, group=group, **options)
    return replace(form.read(path, **options), group=group)


def _as(kind: Any, option: str, value: Any) -> Any:
    """An option as what the format takes; one that was written as text may stand for a number."""
    if kind is inspect.Parameter.empty:
        return value
    plain = value.item() if isinstance(value, np.generic) else value
    plain = os.fspath(plain) if isinstance(plain, os.PathLike) else plain
    try:
        return msgspec.convert(plain, kind, strict=not isinstance(plain, str))
    except msgspec.ValidationError as error:
        raise OptionError(f"{option}={str(value)[:60]}: {str(error).lower()}") from None


def recognise(path: Path) -> Format:
    """The first format that recognises the path."""
    for form in FORMATS.values():
        if form.recognises(path):
            return form
    if path.is_file() and path.suffix.lower() in COMPRESSED:
        raise DataError(f"{path}: compressed as a whole, so no image can be read from it alone: unpack it")
    raise DataError(
        f"{path}: no known format is recognised here (a folder of images needs one folder for each class, or a CSV); "
        f"name one as format:path ({', '.join(FORMATS)})"
    )
