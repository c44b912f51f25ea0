"""The page of an audit: what was found, every class, pairs, shifts, and copies to look at."""

import base64
import io
import warnings
from typing import Any

from PIL import Image

from rarecall.audit import Audit, Facts
from rarecall.audit.facts import CopyPair
from rarecall.data.table import LabelTable
from rarecall.images.containers import Located
from rarecall.images.decoding import decode
from rarecall.reports import figures
from rarecall.reports.page import both_sizes, template

MOST_PAIRS = 24  # of copies that are shown
MOST_ROWS = 20  # of a table of pairs or shifts
MOST_COLUMNS = 40  # classes in the table of sources
THUMBNAIL = (130, 110)
QUALITY = 75


def render(audit: Audit, table: LabelTable) -> str:
    """The page as HTML.

    Args:
        audit: of the data set.
        table: the data set, whose images are shown.
    """
    data = audit.as_dict()
    drawings = {"counts": both_sizes(lambda size: figures.class_counts(data, size))}
    if any(row["shares"][part] and row["shares"]["train"] for row in data["classes"] for part in ("val", "test")):
        drawings["prevalences"] = both_sizes(lambda size: figures.prevalences(data, size))
    return template("audit.html").render(
        data=data,
        figures=drawings,
        classes=sorted(data["classes"], key=lambda row: row["positives"]),
        copies=[_shown(pair, table) for pair in _worth_seeing(audit.facts)],
        unknown=_unknown_by_source(data),
        most_rows=MOST_ROWS,
    )


def _worth_seeing(facts: Facts) -> list[CopyPair]:
    """Pairs across parts first, nearest first, then pairs whose labels differ most."""
    if facts.copies is None or facts.features is not None:
        return []
    pairs = [*facts.copies.contradicted, *facts.copies.near]
    across = [pair for pair in pairs if pair.parts[0] != pair.parts[1]]
    within = sorted((pair for pair in pairs if pair.parts[0] == pair.parts[1]), key=lambda pair: -pair.differing)
    return [*across, *within][:MOST_PAIRS]


def _shown(pair: CopyPair, table: LabelTable) -> dict[str, Any]:
    items = [
        {"item": item, "part": part, "image": _thumbnail(table, item)}
        for item, part in zip((pair.first, pair.second), pair.parts, strict=True)
    ]
    return {"items": items, "distance": pair.distance, "likeness": pair.likeness, "differing": pair.differing}


def _thumbnail(table: LabelTable, item: str) -> str | None:
    """A small JPEG in base64; None of what cannot be read any more."""
    assert table.root is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = decode(Located(table.root, item), THUMBNAIL)
    if isinstance(image, str):
        return None
    height = THUMBNAIL[1]
    image = image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.BICUBIC)
    image.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def _unknown_by_source(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each class, those first that the fewest sources label."""
    by_source = data["by_source"]
    if by_source is None:
        return []
    rows = [
        {"name": row["name"], "shares": [shares[place] for shares in by_source["shares"]]}
        for place, row in enumerate(data["classes"])
    ]
    return sorted(rows, key=lambda row: -sum(row["shares"]))[:MOST_COLUMNS]
