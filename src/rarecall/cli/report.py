"""`rarecall report`."""

from pathlib import Path
from typing import Annotated

import typer

from rarecall.cli import _options


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished study.")] = Path("rarecall-study"),
) -> None:
    """Write report.html of a finished study anew, and print its leaderboard.

    Example: `rarecall report ./rarecall-study`
    """
    from rarecall.files import write_text
    from rarecall.reports import page, terminal
    from rarecall.studies import Results

    results = Results.read(folder)
    terminal.print_leaderboard(results.summary, _options.output)
    write_text(folder / "report.html", page.render(results))
    _options.output.print(f"\n{folder / 'report.html'} written", soft_wrap=True)
