"""`rarecall study`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rarecall.cli import _options
from rarecall.cli._options import Device, Strict, takes
from rarecall.cli._settings import PROTOCOL

Losses = Annotated[
    str | None,
    typer.Option(
        help="Losses separated by commas; options in brackets, as in `two-way,focal(gamma=1.0)`, or sums, as in "
        "`dr + 0.5 * focal`; a wrong name lists them all. Default: binary-cross-entropy, focal, asymmetric, two-way, "
        "distributionally-robust."
    ),
]


@takes(default="digits", settings=PROTOCOL)
def study(
    data: str,
    options: dict[str, Any],
    losses: Losses = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds; below 5, seed statistics are weak.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command continues it.")] = Path(
        "rarecall-study"
    ),
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Train whole networks, as `rarecall train` does, and not only heads.")
    ] = False,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes. Default: one for each core; for whole networks see `rarecall train`."),
    ] = None,
    strict: Strict = False,
) -> None:
    """Find out which loss finds the rare labels best on your data, and how sure that is.

    Every loss is trained with every seed under one protocol: images become features of a frozen backbone
    (cached), heads are trained on them (or whole networks with --finetune), validation picks the learning rate
    and the epoch, and the test part is scored once per run. Stop it at any moment; the same command goes on.

    Example: `rarecall study photos/tags.csv --losses two-way,focal --seeds 5`
    """
    from rarecall import processes

    if not finetune and workers != 1:
        processes.warm_up()  # before this process, too, imports PyTorch
    from rarecall import api
    from rarecall.reports import terminal

    result = api.study(
        data, losses, seeds, out, finetune=finetune, device=device, workers=workers, strict=strict,
        command=_options.command_line(), **options,
    )  # fmt: skip
    terminal.print_leaderboard(result.summary, _options.output)
    _options.output.print(f"\nreport: {out / 'report.html'}", soft_wrap=True)
