"""The page of an audit: what was found, every class, pairs, shifts, and copies to look at."""

from collections.abc import Mapping
from typing import Any

from rarecall.audit import Audit, Facts
from rarecall.audit.facts import CopyPair
from rarecall.data.table import LabelTable
from rarecall.labels import HEAD_POSITIVES, MEDIUM_POSITIVES
from rarecall.reports import figures
from rarecall.reports.page import Draw, drawn, template
from rarecall.reports.thumbnails import thumbnail

MOST_PAIRS = 24  # of copies that are shown
MOST_ROWS = 20  # of a table of pairs or shifts
MOST_COLUMNS = 40  # classes in the table of sources


def render(audit: Audit, table: LabelTable) -> str:
    """The page as HTML.

    Args:
        audit: of the data set.
        table: the data set, whose images are shown.
    """
    facts = audit.facts
    drawings: dict[str, Draw] = {"counts": lambda size: figures.class_counts(facts.classes, size)}
    if any(row.shares[part] and row.shares["train"] for row in facts.classes for part in ("val", "test")):
        drawings["prevalences"] = lambda size: figures.prevalences(facts, size)
    rows = {item: row for row, item in enumerate(table.items)}
    return template("audit.html").render(
        facts=facts,
        findings=audit.findings,
        figures=drawn(drawings),
        classes=sorted(facts.classes, key=lambda row: row.positives),
        copies=[_shown(pair, table, rows) for pair in _worth_seeing(facts)],
        unknown=_unknown_by_source(facts),
        most_rows=MOST_ROWS,
        limits=(HEAD_POSITIVES, MEDIUM_POSITIVES),
    )


def _worth_seeing(facts: Facts) -> list[CopyPair]:
    """Pairs across parts first, nearest first, then pairs whose labels differ most."""
    if facts.copies is None or facts.features is not None:
        return []
    pairs = [*facts.copies.contradicted, *facts.copies.near]
    across = [pair for pair in pairs if pair.parts[0] != pair.parts[1]]
    within = sorted((pair for pair in pairs if pair.parts[0] == pair.parts[1]), key=lambda pair: -pair.differing)
    return [*across, *within][:MOST_PAIRS]


def _shown(pair: CopyPair, table: LabelTable, rows: Mapping[str, int]) -> dict[str, Any]:
    shots = [
        {"item": item, "part": part, "image": thumbnail(table, rows[item]) if item in rows else None}
        for item, part in zip((pair.first, pair.second), pair.parts, strict=True)
    ]
    return {"shots": shots, "pair": pair}


def _unknown_by_source(facts: Facts) -> list[dict[str, Any]]:
    """A row for each class, those first that the fewest sources label."""
    if facts.by_source is None:
        return []
    rows: list[dict[str, Any]] = [
        {"name": row.name, "shares": [shares[place] for shares in facts.by_source.shares]}
        for place, row in enumerate(facts.classes)
    ]
    return sorted(rows, key=lambda row: -sum(row["shares"]))[:MOST_COLUMNS]
