"""`rarecall report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rarecall.cli import _options
from rarecall.errors import OptionError

if TYPE_CHECKING:
    from rarecall.studies import Results


def report(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folder of a finished study, or of several on different data sets.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Page of several studies. Default: rarecall-ranks.html.")] = None,
) -> None:
    """Write report.html of a finished study anew; of several, rank their losses over the data sets.

    Example: `rarecall report ./rarecall-study`, or `rarecall report voc-study coco-study wider-study`
    """
    from rarecall.studies import Results

    folders = folders or [Path("rarecall-study")]
    studies = [Results.read(folder) for folder in folders]
    if len(studies) > 1:
        _rank(studies, out or Path("rarecall-ranks.html"))
        return
    if out is not None:
        raise OptionError(f"--out {out}: is for several studies; the page of one is in its folder")
    _report(folders[0], studies[0])


def _report(folder: Path, results: "Results") -> None:
    from rarecall.files import write_text
    from rarecall.reports import page, terminal

    terminal.print_leaderboard(results.summary, _options.output)
    write_text(folder / "report.html", page.render(results))
    _options.output.print(f"\n{folder / 'report.html'} written", soft_wrap=True)


def _rank(studies: "list[Results]", out: Path) -> None:
    from rarecall.files import write_text
    from rarecall.reports import ranks_page, terminal

    rankings = ranks_page.rank(studies)
    for ranking in rankings:
        terminal.print_ranks(ranking, _options.output)
    write_text(out, ranks_page.render(rankings))
    _options.output.print(f"\n{out} written", soft_wrap=True)
