"""The options of a recipe, made from its fields."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from rarecall.settings import SETTINGS, Protocol, Training, choices, default_of, plain_type

PANELS = {
    "Network": ("head_only", "hidden", "dropout", "augmentation", "precision", "seed"),
    "Optimiser": (
        *("rate", "rates", "backbone_rate", "optimizer", "momentum", "nesterov", "weight_decay", "decay", "clip"),
        "loss_optimizer",
    ),
    "Steps": (
        *("epochs", "batch_size", "drop_last", "schedule", "milestones"),
        *("warmup_epochs", "warmup_steps", "warmup_from"),
    ),
    "Choices": ("val", "select", "metric", "patience", "tolerance", "threshold"),
}
METAVARS = {int: "N", float: "X", str: "WORD", bool: None}  # short ones leave room for the help


def options_of(names: Iterable[str]) -> dict[str, Any]:
    """An option for each setting, with its help and its default in words; None where it is not given."""
    return {name: _option(name) for name in names}


def _option(name: str) -> Any:
    kind = plain_type(name)
    panel = next(panel for panel, members in PANELS.items() if name in members)
    return Annotated[kind | None, typer.Option(help=_help(name), rich_help_panel=panel, metavar=METAVARS[kind])]


def _help(name: str) -> str:
    description, default = SETTINGS[name].description or "", default_of(name)
    if others := [word for word in choices(name) if f"`{word}`" not in description]:
        description = f"{description} Or {', '.join(f'`{word}`' for word in others)}."
    return f"{description} Default: {default}." if default else description


def _in_panels(fields: Iterable[str]) -> list[str]:
    """The settings in the order in which the panels have them."""
    order = [name for members in PANELS.values() for name in members]
    return sorted(fields, key=order.index)


PROTOCOL = options_of(_in_panels(name for name in Protocol.model_fields if name != "head_only"))
TRAINING = options_of(_in_panels(name for name in Training.model_fields if name != "loss"))
