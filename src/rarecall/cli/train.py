"""`rarecall train`."""

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
    LoaderWorkers,
    LoadTable,
    WeightDecay,
    Weights,
    reads_data,
)
from rarecall.errors import OptionError

if TYPE_CHECKING:
    from rarecall.data import LabelTable
    from rarecall.inference.run_folder import RunCard
    from rarecall.models import Backbone

Rate = Annotated[float | None, typer.Option(help="Learning rate of the head. Default 1e-3; 3e-3 for a head alone.")]


@reads_data()
def train(
    load_table: LoadTable,
    loss: Annotated[
        str | None, typer.Option(help="Such as `two-way` or `focal(gamma=1.0)`. Default: binary-cross-entropy.")
    ] = None,
    from_study: Annotated[
        Path | None, typer.Option(help="A finished study: take its best loss, that loss's rate, and its backbone.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The run folder; the same command continues it.")] = Path("rarecall-run"),
    model: BackboneModel = None,
    weights: Weights = None,
    image_size: ImageSize = None,
    head_only: Annotated[bool, typer.Option(help="Train a head on features of the frozen backbone.")] = False,
    hidden: Hidden = None,
    dropout: Dropout = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    rate: Rate = None,
    backbone_rate: Annotated[
        float | None, typer.Option(help="Learning rate of the backbone. Default: the head's, but at most 1e-3.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="`adamw` (default), `adam` or `sgd`.")] = None,
    weight_decay: WeightDecay = None,
    schedule: Annotated[str | None, typer.Option(help="`cosine` (default), `step` or `constant`.")] = None,
    milestones: Annotated[
        str | None,
        typer.Option(help="Epochs at which `step` divides the rates by 10, as in 5,8. Default: 1/2 and 3/4 of all."),
    ] = None,
    warmup_epochs: Annotated[
        float | None, typer.Option(help="Over which the rates rise from 0. Default: 1 of 12.")
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient. Default: no limit.")] = None,
    augmentation: Augmentation = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Validation figure that picks the epoch: `map_class` (default), `map_sample`, `map_head`, "
            "`map_medium`, `map_tail`, `macro_f1` or `loss`."
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better one. Default: never.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="`auto` (default: 16 bits on a GPU), `32`, `bf16` or `16`.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides initial weights, order, augmentation, dropout.")] = 0,
    device: Device = "auto",
    workers: LoaderWorkers = None,
    tensorboard: Annotated[bool, typer.Option(help="Write logs for TensorBoard.")] = True,
    strict: Annotated[bool, typer.Option(help="Refuse a data set with an unreadable image.")] = False,
) -> None:
    """Train a network with one loss and write a run folder that predicts anywhere.

    The validation part picks the epoch and fits a threshold for each class; the test part is scored once. Stop
    it at any moment; the same command goes on.

    Example: `rarecall train photos/tags.csv --loss two-way --epochs 12 --out run`
    """
    from rarecall import training
    from rarecall.reports import terminal
    from rarecall.training.run import TRAINING

    TRAINING.check(out)
    winner = _winner(from_study) if from_study else {}
    if loss is not None and winner:
        raise OptionError(f"--loss {loss}: --from-study takes the study's own: leave one of them out")
    if head_only and "recipe" in winner:
        raise OptionError("--head-only: the study trained whole networks, and so does its winner: leave it out")
    size = _options.parse_size(image_size) or winner.get("image_size")
    stages = _options.parse_milestones(milestones)
    table = load_table()
    given = _options.given(
        hidden=hidden, dropout=dropout, epochs=epochs, batch_size=batch_size,
        optimizer=optimizer, weight_decay=weight_decay, schedule=schedule, milestones=stages,
        warmup_epochs=warmup_epochs, clip=clip, augmentation=augmentation, metric=metric, patience=patience,
        precision=precision,
    )  # fmt: skip
    recipe = training.recipe(table, **{**winner.get("recipe", {"head_only": head_only}), **given})
    settings = training.training(
        recipe,
        winner.get("loss", "binary-cross-entropy") if loss is None else loss,
        rate=winner.get("rate") if rate is None else rate,
        backbone_rate=backbone_rate,
        seed=seed,
    )
    backbone = _backbone(table, model or winner.get("model"), weights, size, device, winner)
    with terminal.progress(_options.messages) as bars:
        card = training.train(
            settings, table, out, terminal.TrainingDisplay(bars, _options.messages), backbone=backbone,
            device=device, workers=workers, strict=strict, tensorboard=tensorboard, command=_options.command_line(),
        )  # fmt: skip
    _print(card, out)


def _print(card: "RunCard", out: Path) -> None:
    from rarecall.reports import terminal

    title = f"{card.training['loss']}, epoch {card.epoch} of {len(card.history)}"
    terminal.print_figures({"validation": card.figures["val"], "test": card.figures["test"]}, title, _options.output)
    _options.output.print(
        f"\nrun folder: {out}\nnext: rarecall predict {out} IMAGES, or rarecall evaluate {out} DATA", soft_wrap=True
    )


def _winner(folder: Path) -> dict[str, Any]:
    """The loss with the study's highest test mAP, its rate, its backbone, and the recipe of a fine-tuning."""
    from rarecall import training
    from rarecall.studies import Results

    summary = Results.read(folder).summary
    best, backbone = summary["tuned"][0], summary["backbone"] or {}
    _options.say(
        "note",
        f"{folder}: {best['loss']} at rate {best['rate']:g} has the highest test mAP, "
        "by which it was chosen: the test figures of its training are a little flattered",
    )
    kept = {key: backbone[key] for key in ("model", "image_size", "weights_digest", "weights") if key in backbone}
    recipe = {key: value for key, value in summary["protocol"].items() if key in training.Recipe.model_fields}
    found = {"loss": best["loss"], "rate": best["rate"], **kept}
    return found | {"recipe": recipe} if "head_only" in recipe else found


def _backbone(
    table: "LabelTable",
    model: str | None,
    weights: str | None,
    size: tuple[int, int] | None,
    device: str,
    winner: dict[str, Any],
) -> "Backbone | None":
    if table.features is not None:
        _options.refuse_for_features(table, model=model, weights=weights, image_size=size)
        return None
    if weights is None and winner.get("weights") not in (None, "pretrained", "none"):
        raise OptionError(f"--weights: the study used {winner['weights']}: pass its path")
    backbone = _options.load_backbone(model, weights or winner.get("weights"), size, device)
    if winner.get("weights_digest") not in (None, backbone.description["weights_digest"]):
        _options.say("warning", "other weights than the study's: what it found may not hold for them")
    return backbone
