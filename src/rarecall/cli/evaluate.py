"""`rarecall evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rarecall import __version__
from rarecall.cli import _options
from rarecall.cli._options import Device, LoadTable, Run, reads_data
from rarecall.errors import ModelError
from rarecall.folders import FolderKind

EVALUATION = FolderKind("evaluation", "evaluation.json", "rarecall evaluate", ModelError)


@reads_data()
def evaluate(
    run: Run,
    load_table: LoadTable,
    out: Annotated[Path | None, typer.Option(help="Folder of the results. Default: RUN/evaluation.")] = None,
    part: Annotated[
        str | None,
        typer.Option(help="`train`, `val`, `test` or `all`. Default: test, or all of a data set without a split."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Measure a model on labelled data: figures, every class, and a page with its best hits and worst errors.

    Example: `rarecall evaluate run photos/tags.csv`
    """
    from rarecall.files import write_text
    from rarecall.inference import Predictor, part_of
    from rarecall.inference import evaluate as measure
    from rarecall.reports import run_page, terminal

    out = out or run / "evaluation"
    EVALUATION.check(out)
    predictor = Predictor.load(run, device)
    table = load_table()
    part = part_of(predictor, table, part)
    _refuse_another(out, {"source": table.source, "part": part})
    found = measure(predictor, table, part)
    summary = found.summary
    for note in summary["notes"]:
        _options.say("warning", note)
    where = "all parts" if summary["part"] == "all" else f"the {summary['part']} part"
    title = f"{summary['loss']} on {where}, {summary['items']:,} items"
    columns = {"fitted thresholds": summary["figures"], "score 0.5": summary["figures_at_half"]}
    terminal.print_figures(columns, title, _options.output)
    terminal.print_rarest(summary["classes"], _options.output)
    write_text(
        out / "evaluation.json",
        json.dumps({"format": 1, "rarecall": __version__, "evaluation": summary}, indent=1, allow_nan=False),
    )
    write_text(out / "classes.csv", found.classes.write_csv())
    write_text(out / "report.html", run_page.render(predictor.card, found))
    _options.output.print(f"\nreport: {out / 'report.html'}", soft_wrap=True)


def _refuse_another(out: Path, wanted: dict[str, str]) -> None:
    """Keep what was measured on other data or another part."""
    if not (out / EVALUATION.file).is_file():
        return
    there = EVALUATION.read_identity(out)
    if {name: there.get(name) for name in wanted} != wanted:
        raise ModelError(
            f"{out}: holds the evaluation of {there.get('source')}, part {there.get('part')}: pass another --out"
        )
