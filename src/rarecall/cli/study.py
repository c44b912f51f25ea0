"""`rarecall study`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rarecall.cli import _options
from rarecall.cli._options import (
    Augmentation,
    BackboneModel,
    BatchSize,
    Device,
    Dropout,
    Epochs,
    Hidden,
    ImageSize,
    LoadTable,
    WeightDecay,
    Weights,
    reads_data,
)
from rarecall.errors import OptionError

if TYPE_CHECKING:
    from rarecall.data import LabelTable
    from rarecall.models import Backbone
    from rarecall.studies import Plan, Study

Losses = Annotated[
    str | None,
    typer.Option(
        help="Losses separated by commas; options in brackets, as in `two-way,focal(gamma=1.0)`, or sums, as in "
        "`dr + 0.5 * focal`; a wrong name lists them all. Default: binary-cross-entropy, focal, asymmetric, two-way, "
        "distributionally-robust."
    ),
]


@reads_data("digits")
def study(
    load_table: LoadTable,
    losses: Losses = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds; below 5, seed statistics are weak.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command continues it.")] = Path(
        "rarecall-study"
    ),
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Train whole networks, as `rarecall train` does, and not only heads.")
    ] = False,
    model: BackboneModel = None,
    weights: Weights = None,
    image_size: ImageSize = None,
    hidden: Hidden = None,
    dropout: Dropout = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    weight_decay: WeightDecay = None,
    augmentation: Augmentation = None,
    rates: Annotated[
        str | None,
        typer.Option(help="Learning rates to choose among. Default 1e-3,3e-3,1e-2; for whole networks 3e-4,1e-3,3e-3."),
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes. Default: one for each core; for whole networks see `rarecall train`."),
    ] = None,
    strict: Annotated[bool, typer.Option(help="Refuse a data set with an unreadable image.")] = False,
) -> None:
    """Find out which loss finds the rare labels best on your data, and how sure that is.

    Every loss is trained with every seed under one protocol: images become features of a frozen backbone
    (cached), heads are trained on them (or whole networks with --finetune), validation picks the learning rate
    and the epoch, and the test part is scored once per run. Stop it at any moment; the same command goes on.

    Example: `rarecall study photos/tags.csv --losses two-way,focal --seeds 5`
    """
    from rarecall import data, studies
    from rarecall.audit import audit
    from rarecall.files import write_text
    from rarecall.reports import page, terminal
    from rarecall.studies.folder import STUDY

    wanted = studies.parse_losses(losses) if losses is not None else studies.Plan().losses
    size = _options.parse_size(image_size)
    grid = _options.parse_rates(rates)
    STUDY.check(out)
    table = load_table()
    common: dict[str, Any] = {
        "hidden": hidden, "dropout": dropout, "epochs": epochs, "batch_size": batch_size,
        "weight_decay": weight_decay, "rates": grid,
    }  # fmt: skip
    if finetune:
        protocol: Any = studies.finetuning(table, augmentation=augmentation, **common)
        for loss in wanted:
            protocol.training(loss, rate=protocol.common_rate, seed=0)  # refuses what a training cannot take
    else:
        if augmentation is not None:
            raise OptionError(f"--augmentation {augmentation}: heads are trained on features: pass --finetune, too")
        protocol = studies.default_protocol(table, **common)
    plan = studies.Plan(losses=wanted, seeds=seeds, protocol=protocol)
    table, taken = data.complete_split(table)  # before any image is left out, so that every command takes the same part
    backbone: Backbone | None = None
    left_out: list[str] = []
    if table.features is not None:
        _options.refuse_for_features(table, model=model, weights=weights, image_size=image_size)
    else:
        table, backbone, left_out = _prepare(table, model, weights, size, device, strict, finetune)
    data.check_learnable(table)
    facts = audit(table)
    idle = studies.idle_rules(wanted, table.labels[table.part("train")])
    _say_what_was_found([*left_out, *facts.warnings], [*taken, *idle, *facts.advice])
    finished = _run(plan, table, backbone, out, workers, device)
    results = studies.collect(finished, facts, _options.command_line(), left_out + taken + idle)
    results.write(out)
    write_text(out / "report.html", page.render(results))
    terminal.print_leaderboard(results.summary, _options.output)
    _options.output.print(f"\nreport: {out / 'report.html'}", soft_wrap=True)


def _say_what_was_found(warnings: list[str], notes: list[str]) -> None:
    for kind, sentences in (("warning", warnings), ("note", notes)):
        for sentence in sentences:
            _options.say(kind, sentence)


def _prepare(
    table: "LabelTable",
    model: str | None,
    weights: str | None,
    size: tuple[int, int] | None,
    device: str,
    strict: bool,
    finetune: bool,
) -> "tuple[LabelTable, Backbone, list[str]]":
    """The table of features, or of readable images for fine-tuning; the backbone; and what was left out."""
    from rarecall.data.features import extract, without_unreadable
    from rarecall.reports import terminal

    backbone = _options.load_backbone(model, weights, size, device)
    for note in backbone.notes:
        _options.say("warning", note)
    notes = (
        list(backbone.notes)
        if weights != "none"
        else ["the backbone has random weights (--weights none): its features say little"]
    )
    if finetune:
        table, left_out = without_unreadable(table, strict=strict, decode=True)
        return table, backbone, notes + left_out
    with terminal.progress(_options.messages) as bars:
        done = 0

        def step(images: int) -> None:
            nonlocal done
            done += images
            bars.show("features", done, len(table))

        table, left_out = extract(table, backbone, strict=strict, advance=step)
    return table, backbone, notes + left_out


def _run(
    plan: "Plan", table: "LabelTable", backbone: "Backbone | None", out: Path, workers: int | None, device: str
) -> "Study":
    from rarecall import studies
    from rarecall.reports import terminal

    with terminal.progress(_options.messages) as bars:
        listener = terminal.TrainingDisplay(bars, _options.messages, one_of_many=True)
        return studies.study(
            plan, table, out, backbone=backbone, workers=workers, progress=bars.bar("runs"), listener=listener,
            device=device,
        )  # fmt: skip
