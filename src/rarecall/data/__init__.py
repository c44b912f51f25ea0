"""Labelled data: one table for every format, its split, its images and features."""

from dataclasses import replace
from typing import Any

from rarecall.data import formats, taxonomy
from rarecall.data.arrays import from_arrays
from rarecall.data.builtin import digits, is_builtin
from rarecall.data.merging import merge
from rarecall.data.simulations import flip_labels, keep_labels, long_tail, single_positive
from rarecall.data.splits import check_learnable, complete_split, k_fold, split
from rarecall.data.storage import save
from rarecall.data.table import LabelTable
from rarecall.errors import OptionError, unknown_name

__all__ = [
    "LabelTable",
    "check_learnable",
    "complete_split",
    "flip_labels",
    "from_arrays",
    "k_fold",
    "keep_labels",
    "load",
    "long_tail",
    "merge",
    "save",
    "single_positive",
    "split",
    "taxonomy",
]


def load(spec: str, *, group: str | None = None, **options: Any) -> LabelTable:
    """Load a data set.

    Args:
        spec: a path whose format is recognised, `format:path`, or the built-in `digits`.
        group: the column whose values stay together in one part: of patients, persons, products, …. In a table of
            your own (CSV, Parquet, JSON Lines, features) it is then no class; other formats have to bring it.
        options: options of the format, such as `blank="absent"` for a CSV.

    Raises:
        DataError: the path does not exist or cannot be read as what it should be, or has no column `group`.
        OptionError: an option that the format does not have.

    >>> load("digits").names[0]
    'zero'
    """
    if not is_builtin(spec):
        return formats.read(str(spec), group=group, **options)
    if options:
        raise OptionError(f"digits: {unknown_name('option', next(iter(options)), ())}")
    return replace(digits(), group=group)
