"""`rarecall evaluate`."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rarecall import __version__
from rarecall.cli import _options
from rarecall.cli._options import Device, takes
from rarecall.errors import ModelError, OptionError
from rarecall.folders import FORMAT, FolderKind

if TYPE_CHECKING:
    from rarecall.data import LabelTable
    from rarecall.inference import Scored
    from rarecall.inference.run_folder import RunCard

EVALUATION = FolderKind("evaluation", "evaluation.json", "rarecall evaluate", ModelError)


@takes()
def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|SCORES",
            help="The run folder that `rarecall train` wrote, or a table with a score for each item and class.",
        ),
    ],
    data: str,
    options: dict[str, Any],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results. Default: RUN/evaluation, or SCORES-evaluation.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="`train`, `val`, `test` or `all`. Default: test, or all of a data set without a split."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="What SCORES are: `probability` (default), `logit`, or `rank`: only their order counts."),
    ] = None,
    resamples: Annotated[
        int | None, typer.Option(min=0, help="Resamples of the items, for the intervals; 0 for none. Default 1000.")
    ] = None,
    stratified: Annotated[
        bool,
        typer.Option("--stratified", help="Resample within strata, so that rare classes keep their positives."),
    ] = False,
    tiers: Annotated[
        str | None,
        typer.Option(
            help="`counts` (default): head, medium and tail by positives in training; `prevalence`: common (over "
            "20 %), medium and rare (below 1 %) by the share of positives here."
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Measure a model, or scores from anywhere else, on labelled data: every figure, every class, and a page.

    Example: `rarecall evaluate run photos/tags.csv`, or `rarecall evaluate scores.csv photos/tags.csv`
    """
    from rarecall.files import write_text
    from rarecall.inference import judge
    from rarecall.reports import run_page, terminal

    out = out or (model / "evaluation" if model.is_dir() else model.with_name(f"{model.stem}-evaluation"))
    EVALUATION.check(out)
    with terminal.listening(_options.messages) as listener:
        load_table = partial(_options.load, data, options, listener)
        scored, card = _score(model, load_table, part, scale, device, out)
    found = judge(scored, stratified=stratified, **_options.given(resamples=resamples, tiers=tiers))
    for note in found.summary["notes"]:
        _options.say("warning", note)
    write_text(
        out / "evaluation.json",
        json.dumps({"format": FORMAT, "rarecall": __version__, "evaluation": found.summary}, indent=1, allow_nan=False),
    )
    write_text(out / "classes.csv", found.classes.write_csv())
    write_text(out / "report.html", run_page.render(found, card))
    terminal.print_evaluation(found.summary, _options.output, card)
    _options.output.print(f"\nreport: {out / 'report.html'}", soft_wrap=True)


def _score(
    model: Path, load_table: "Callable[[], LabelTable]", part: str | None, scale: str | None, device: str, out: Path
) -> "tuple[Scored, RunCard | None]":
    """The scores to judge, and the card of a model of ours."""
    from rarecall.inference import Predictor, part_of, scored_by, scored_in

    if not model.is_dir() and model.name != "run.json":
        if device != "auto":
            raise OptionError(
                f"--device {device}: {model} is no run folder, so nothing is computed there: leave it out"
            )
        scored = scored_in(model, load_table(), part, **_options.given(scale=scale))
        _refuse_another(out, fingerprint=scored.fingerprint, part=scored.part, loss=scored.title)
        return scored, None
    if scale is not None:
        raise OptionError(f"--scale {scale}: {model} is no file of scores, and a run's scores are logits: leave it out")
    predictor = Predictor.load(model, device)
    table = load_table()
    part = part_of(predictor, table, part)
    _refuse_another(out, fingerprint=table.fingerprint(), part=part)
    return scored_by(predictor, table, part), predictor.card


def _refuse_another(out: Path, **wanted: str) -> None:
    """Keep what was measured on other data, on another part or of other scores."""
    if not (out / EVALUATION.file).is_file():
        return
    there = EVALUATION.read_identity(out)
    if {name: there.get(name) for name in wanted} != wanted:
        of = f"{there.get('loss')} on {there.get('source')}, part {there.get('part')}"
        raise ModelError(f"{out}: holds the evaluation of {of}: pass another --out")
