"""`rarecall audit`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rarecall.cli import _options
from rarecall.cli._options import LoadTable, reads_data
from rarecall.errors import OptionError

if TYPE_CHECKING:
    from rarecall.audit import Audit
    from rarecall.data import LabelTable


@reads_data("digits")
def audit(
    load_table: LoadTable,
    out: Annotated[Path, typer.Option(help="Folder for audit.html, audit.json and audit.png.")] = Path(
        "rarecall-audit"
    ),
    duplicates: Annotated[
        bool,
        typer.Option(help="Open every image and look for copies and near copies, within parts and across them."),
    ] = True,
) -> None:
    """Say what can be learnt from a data set: counts, tail, unknowns, pairs, leaks, copies, shifts, and advice.

    Example: `rarecall audit tags.csv --blank absent`
    """
    from rarecall.files import write_bytes, write_text
    from rarecall.reports import audit_page, figures, terminal

    if out.exists() and not out.is_dir():
        raise OptionError(f"--out {out}: is a file, not a folder: pass another")
    table = load_table()
    facts = _audited(table, duplicates)
    terminal.print_audit(facts, _options.output)
    write_text(out / "audit.json", json.dumps(facts.as_dict(), indent=1, allow_nan=False))
    write_bytes(out / "audit.png", figures.to_png(figures.class_counts(facts.as_dict(), figures.WIDE)))
    write_text(out / "audit.html", audit_page.render(facts, table))
    _options.output.print(f"\nreport: {out / 'audit.html'}", soft_wrap=True)


def _audited(table: "LabelTable", duplicates: bool) -> "Audit":
    from rarecall.audit import audit
    from rarecall.reports import terminal

    with terminal.progress(_options.messages) as bars:
        return audit(table, copies=duplicates, progress=bars.bar("images"))
