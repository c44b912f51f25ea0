"""`rarecall audit`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rarecall.cli import _options
from rarecall.cli._options import LoadTable, reads_data
from rarecall.errors import OptionError


@reads_data("digits")
def audit(
    load_table: LoadTable,
    out: Annotated[Path, typer.Option(help="Folder for audit.json and audit.png.")] = Path("rarecall-audit"),
) -> None:
    """Say what can be learnt from a data set: counts, tail, unknowns, pairs, leaks, and advice.

    Example: `rarecall audit tags.csv --blank absent`
    """
    from rarecall import data
    from rarecall.files import write_bytes, write_text
    from rarecall.reports import figures, terminal

    if out.exists() and not out.is_dir():
        raise OptionError(f"--out {out}: is a file, not a folder: pass another")
    facts = data.audit(load_table())
    terminal.print_audit(facts, _options.output)
    write_text(out / "audit.json", json.dumps(facts.as_dict(), indent=1))
    write_bytes(out / "audit.png", figures.to_png(figures.class_counts(facts.as_dict(), figures.WIDE)))
    _options.output.print(f"\n{out / 'audit.json'} and {out / 'audit.png'} written", soft_wrap=True)
