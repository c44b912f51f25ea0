"""`rarecall audit`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rarecall.cli import _options
from rarecall.cli._options import takes
from rarecall.errors import OptionError


@takes(default="digits")
def audit(
    data: str,
    options: dict[str, Any],
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
    from rarecall.audit import audit as audited
    from rarecall.files import write_bytes, write_text
    from rarecall.reports import audit_page, figures, terminal

    if out.exists() and not out.is_dir():
        raise OptionError(f"--out {out}: is a file, not a folder: pass another")
    with terminal.listening(_options.messages) as listener:
        table = _options.load(data, options, listener)
        facts = audited(table, copies=duplicates, listener=listener)
    terminal.print_audit(facts, _options.output)
    write_text(out / "audit.json", json.dumps(facts.as_dict(), indent=1, allow_nan=False))
    with figures.style():
        write_bytes(out / "audit.png", figures.to_png(figures.class_counts(facts.facts.classes, figures.WIDE)))
    write_text(out / "audit.html", audit_page.render(facts, table))
    _options.output.print(f"\nreport: {out / 'audit.html'}", soft_wrap=True)
