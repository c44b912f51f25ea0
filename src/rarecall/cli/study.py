"""`rarecall study`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rarecall.cli import _options
from rarecall.cli._options import Blank, Data, ImageColumn, Images, Separator, SplitColumn, TagsColumn, Unlisted
from rarecall.errors import OptionError

if TYPE_CHECKING:
    from rarecall.data import LabelTable
    from rarecall.studies import Plan, Study

Losses = Annotated[
    str | None,
    typer.Option(
        help="Losses separated by commas; options in brackets, as in `two-way,focal(gamma=1.0)`. Default: "
        "binary-cross-entropy, focal, asymmetric, two-way, distributionally-robust."
    ),
]
Model = Annotated[
    str | None, typer.Option(help="timm backbone. Default: the one named beside the weights, or resnet18.")
]
Weights = Annotated[
    str | None,
    typer.Option(help="`pretrained` (default), `none`, or a .safetensors file with perhaps a JSON beside it."),
]
ImageSize = Annotated[str | None, typer.Option(help="Height x width, as in 128x64. Default: the backbone's own.")]


def study(
    spec: Data = "digits",
    losses: Losses = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds; below 5, seed statistics are weak.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command continues it.")] = Path(
        "rarecall-study"
    ),
    model: Model = None,
    weights: Weights = None,
    image_size: ImageSize = None,
    hidden: Annotated[int | None, typer.Option(min=0, help="Units of the hidden layer; 0 for a linear head.")] = None,
    dropout: Annotated[float | None, typer.Option(min=0, max=0.99, help="Dropout before the last layer.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each run. Default 30.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Default 128 (digits 64).")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, help="Of AdamW. Default 0.01.")] = None,
    rates: Annotated[str | None, typer.Option(help="Learning rates to choose among. Default 1e-3,3e-3,1e-2.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one for each core.")] = None,
    strict: Annotated[bool, typer.Option(help="Refuse a data set with an unreadable image.")] = False,
    blank: Blank = None,
    unlisted: Unlisted = None,
    images: Images = None,
    image_column: ImageColumn = None,
    tags_column: TagsColumn = None,
    split_column: SplitColumn = None,
    separator: Separator = None,
) -> None:
    """Find out which loss finds the rare labels best on your data, and how sure that is.

    Every loss is trained with every seed under one protocol: images become features of a frozen backbone
    (cached), heads are trained on them, validation picks the learning rate and the epoch, and the test part is
    scored once per run. Stop it at any moment; the same command goes on.

    Example: `rarecall study photos/tags.csv --losses two-way,focal --seeds 5`
    """
    from rarecall import data, studies
    from rarecall.files import write_text
    from rarecall.reports import page, terminal
    from rarecall.studies.folder import check_folder

    wanted = studies.parse_losses(losses) if losses is not None else studies.Plan().losses
    size = _options.parse_size(image_size)
    grid = _options.parse_rates(rates)
    check_folder(out)
    table = data.load(
        spec,
        **_options.given(
            blank=blank, unlisted=unlisted, images=images, image_column=image_column, tags_column=tags_column,
            split_column=split_column, separator=separator,
        ),
    )  # fmt: skip
    protocol = studies.default_protocol(
        table, hidden=hidden, dropout=dropout, epochs=epochs, batch_size=batch_size, weight_decay=weight_decay,
        rates=grid,
    )  # fmt: skip
    plan = studies.Plan(losses=wanted, seeds=seeds, protocol=protocol)
    if table.features is None:
        table, backbone, left_out = _features(table, model, weights, size, strict)
    else:
        _refuse_options_for_images(table, {"--model": model, "--weights": weights, "--image-size": image_size})
        backbone, left_out = None, []
    table, taken = data.complete_split(table)
    studies.check_learnable(table)
    facts = data.audit(table)
    _say_what_was_found([*left_out, *facts.warnings], [*taken, *facts.advice])
    finished = _run(plan, table, backbone, out, workers)
    results = studies.collect(finished, facts, _command(), left_out + taken)
    results.write(out)
    write_text(out / "report.html", page.render(results))
    terminal.print_leaderboard(results.summary, _options.output)
    _options.output.print(f"\nreport: {out / 'report.html'}", soft_wrap=True)


def _refuse_options_for_images(table: "LabelTable", options: dict[str, str | None]) -> None:
    for option, value in options.items():
        if value is not None:
            raise OptionError(f"{option} {value}: {table.source} has features, not images: leave it out")


def _say_what_was_found(warnings: list[str], notes: list[str]) -> None:
    for kind, sentences in (("warning", warnings), ("note", notes)):
        for sentence in sentences:
            _options.say(kind, sentence)


def _features(
    table: "LabelTable", model: str | None, weights: str | None, size: tuple[int, int] | None, strict: bool
) -> "tuple[LabelTable, dict[str, Any], list[str]]":
    from rarecall.data.features import extract
    from rarecall.models import load_backbone

    if weights in (None, "pretrained"):
        _options.say(
            "note", "fetching pretrained weights unless they are cached; without a network, pass --weights FILE"
        )
    backbone = load_backbone(model, weights or "pretrained", size)
    notes = [] if weights != "none" else ["the backbone has random weights (--weights none): its features say little"]
    with _progress("features") as advance:
        done = 0

        def step(images: int) -> None:
            nonlocal done
            done += images
            advance(done, len(table))

        table, left_out = extract(table, backbone, strict=strict, advance=step)
    return table, backbone.description, notes + left_out


def _run(plan: "Plan", table: "LabelTable", backbone: dict[str, Any] | None, out: Path, workers: int | None) -> "Study":
    from rarecall import studies

    with _progress("runs") as advance:
        return studies.study(plan, table, out, backbone=backbone, workers=workers, progress=advance)


def _progress(what: str) -> Any:
    from rarecall.reports.terminal import progress

    return progress(what, _options.messages)


def _command() -> str:
    return shlex.join(["rarecall", *sys.argv[1:]])
