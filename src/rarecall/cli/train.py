"""`rarecall train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rarecall.cli import _options
from rarecall.cli._options import Device, Strict, takes
from rarecall.cli._settings import TRAINING

if TYPE_CHECKING:
    from rarecall.api import TrainedModel


@takes(settings=TRAINING)
def train(
    data: str,
    options: dict[str, Any],
    loss: Annotated[
        str | None, typer.Option(help="Such as `two-way` or `focal(gamma=1.0)`. Default: binary-cross-entropy.")
    ] = None,
    from_study: Annotated[
        Path | None,
        typer.Option(help="A finished study: train its winner as it was trained there, on the same parts."),
    ] = None,
    finetune: Annotated[
        bool,
        typer.Option("--finetune", help="Beside --from-study: its loss, but a whole network under such a recipe."),
    ] = False,
    out: Annotated[Path, typer.Option(help="The run folder; the same command continues it.")] = Path("rarecall-run"),
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, max=256, help="Processes that load images. Default: one for each core beside a GPU, else 1."
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option(help="Write logs for TensorBoard.")] = True,
    strict: Strict = False,
) -> None:
    """Train a network with one loss and write a run folder that predicts anywhere.

    The validation part picks the epoch and fits a threshold for each class; the test part is scored once. Stop
    it at any moment; the same command goes on.

    Example: `rarecall train photos/tags.csv --loss two-way --epochs 12 --out run`
    """
    from rarecall import api

    model = api.train(
        data, loss, out, from_study=from_study, finetune=finetune, device=device, workers=workers, strict=strict,
        tensorboard=tensorboard, command=_options.command_line(), **options,
    )  # fmt: skip
    _print(model)


def _print(model: "TrainedModel") -> None:
    from rarecall.reports import terminal

    terminal.print_run(model.card, _options.output)
    out = model.folder
    _options.output.print(
        f"\nrun folder: {out}\nnext: rarecall predict {out} IMAGES, or rarecall evaluate {out} {model.data or 'DATA'}",
        soft_wrap=True,
        markup=False,
    )
