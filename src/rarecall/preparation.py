"""From a table as it was loaded to what is trained, scored and counted: one way for study, train and evaluate."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rarecall.audit import Audit, audit
from rarecall.data.features import extract, without_unreadable
from rarecall.data.parts import Parts, parts_of
from rarecall.data.splits import check_learnable, complete_split
from rarecall.data.table import LabelTable
from rarecall.errors import DataError
from rarecall.listener import Listener
from rarecall.models import Backbone


@dataclass(frozen=True)
class Divided:
    """A table of which every row has its part, before any image is left out.

    Attributes:
        table: with a complete split.
        fingerprint: of the table as it was loaded.
        val: what choices are made on, as `divide` took it.
        notes: how rows came to their parts.
    """

    table: LabelTable
    fingerprint: str
    val: str = "part"
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> Parts:
        """The part of each item, to be kept."""
        return parts_of(self.table, self.fingerprint)


@dataclass(frozen=True)
class Prepared:
    """What is trained and measured.

    Attributes:
        table: the rows that can be used, with a complete split; features in place of images where these are wanted.
        images: the same rows with their images; the table itself where it has no other features.
        divided: every row with its part.
        audit: of the table.
        notes: on what was left out and how parts came about, each said once.
    """

    table: LabelTable
    images: LabelTable
    divided: Divided
    audit: Audit
    notes: list[str]

    def digest(self) -> str:
        """A hash of which rows are left and in which part each is: what runs that are compared must share."""
        own = hashlib.sha256(parts_of(self.table, "").digest().encode())
        own.update("\n".join(self.table.items).encode())
        return own.hexdigest()[:16]


def divide(table: LabelTable, *, val: str = "part", kept: Parts | None = None) -> Divided:
    """Give every row its part, as the table has it, as it was kept, or taken from train.

    Args:
        table: as it was loaded.
        val: `part`: a validation part is taken from train where there is none; `none` or `test`: there is no such
            part, and its rows are trained on.
        kept: the parts of a study or a training on the same data.

    Raises:
        DataError: too few rows to take a part from.
    """
    fingerprint = table.fingerprint()
    notes: list[str] = []
    if kept is not None:
        table, notes = kept.divide(table, fingerprint)
        if not kept.knows(table, fingerprint):
            notes.append("these are other data than the study's: their parts are drawn anew")
        elif fingerprint == kept.fingerprint:
            notes.append("every item has the part that it had in the study")
    if val != "part" and len(rows := table.part("val")):
        notes.append(f"the {len(rows):,} rows of the validation part are trained on, too (--val {val})")
        table = replace(table, split=np.where(table.split == "val", "train", table.split))
    table, taken = complete_split(table, ("test", "val") if val == "part" else ("test",))
    return Divided(table, fingerprint, val, (*notes, *taken))


def prepare(
    divided: Divided,
    listener: Listener,
    *,
    backbone: Backbone | None = None,
    features: bool = False,
    decode: bool = False,
    strict: bool = False,
) -> Prepared:
    """Leave out what cannot be used, compute features where they are wanted, and audit what is left.

    Everything that a user should know is said once: what is lost as a warning, what follows as a note.

    Args:
        divided: every row with its part.
        listener: is told.
        backbone: of images.
        features: put the backbone's features in place of the images.
        decode: leave out images that cannot be read and not only those that are not there.
        strict: refuse a data set with such an image.

    Raises:
        DataError: nothing that could be learnt, chosen on or measured on is left.
    """
    table, lost = divided.table, list(backbone.notes) if backbone is not None else []
    images = table
    if table.features is None and backbone is None:
        raise DataError(f"{table.source}: has images: a backbone is needed")
    if table.features is None and backbone is not None and features:
        if backbone.description["weights"] == "none":
            lost.append("the backbone has random weights (--weights none): its features say little")
        images, table, left_out = extract(table, backbone, listener, strict=strict)
        lost += left_out
    elif table.features is None:
        table, left_out = without_unreadable(table, strict=strict, decode=decode)
        images, lost = table, lost + left_out
    check_learnable(table, chosen_on="val" if divided.val == "part" else None)
    found = audit(table)
    tell(listener, [*lost, *found.warnings], [*divided.notes, *found.advice])
    return Prepared(table, images, divided, found, [*lost, *divided.notes])


def prepare_part(table: LabelTable, part: str, *, kept: Parts | None = None) -> tuple[LabelTable, list[str]]:
    """The rows of one part of a labelled data set that can be scored, and what a user should know of them.

    Args:
        table: as it was loaded.
        part: `train`, `val`, `test` or `all`.
        kept: the parts of the training whose model is to be judged.

    Raises:
        DataError: no row is in that part, or none of its images is there.
    """
    fingerprint = table.fingerprint()
    notes: list[str] = []
    if kept is not None:
        table, notes = kept.divide(table, fingerprint)
    rows = np.arange(len(table)) if part == "all" else table.part(part)
    if not len(rows):
        raise DataError(f"{table.source}: no row is in the {part} part: pass another --part, or --part all")
    table = table.select(rows)
    if kept is not None:
        notes += _seen(kept, table, part, known=fingerprint == kept.fingerprint)
    if table.features is not None:
        return table, notes
    table, lost = without_unreadable(table)
    return table, notes + lost


def tell(listener: Listener, warnings: Iterable[str], notes: Iterable[str]) -> None:
    """Say each sentence once."""
    for kind, sentences in (("warning", warnings), ("note", notes)):
        for sentence in dict.fromkeys(sentences):
            listener.say(kind, sentence)


def _seen(kept: Parts, table: LabelTable, part: str, *, known: bool) -> list[str]:
    """A sentence on items that the model was trained or its thresholds fitted on."""
    if known:
        seen = 0 if part == "test" else int((table.split != "test").sum())
    else:
        seen = 0 if table.root is None else kept.seen(list(table.items))
    if not seen:
        return []
    return [
        f"{seen:,} of {len(table):,} items have the names of items that the model was trained or its thresholds were "
        "fitted on: figures on them flatter it"
    ]
