"""The options of a recipe, made from its fields."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from rarecall.settings import SETTINGS, Protocol, Training, default_of, plain_type


def options_of(names: Iterable[str]) -> dict[str, Any]:
    """An option for each setting, with its help and its default in words; None where it is not given."""
    return {name: Annotated[plain_type(name) | None, typer.Option(help=_help(name))] for name in names}


def _help(name: str) -> str:
    description, default = SETTINGS[name].description or "", default_of(name)
    return f"{description} Default: {default}." if default else description


PROTOCOL = options_of(name for name in Protocol.model_fields if name != "head_only")
TRAINING = options_of(name for name in Training.model_fields if name != "loss")
