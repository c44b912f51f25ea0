"""What a study compares, and the one protocol that every loss is trained under."""

import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rarecall import losses
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError
from rarecall.labels import PRESENT

DEFAULT_LOSSES = ("binary-cross-entropy", "focal", "asymmetric", "two-way", "distributionally-robust")
RATES = (1e-3, 3e-3, 1e-2)
COMMON_RATE = 3e-3


class Protocol(BaseModel):
    """How a head is trained: the same for every loss, seed and rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    batch_size: int = Field(128, ge=1)
    epochs: int = Field(30, ge=1)
    weight_decay: float = Field(1e-2, ge=0)
    rates: tuple[float, ...] = RATES
    common_rate: float = COMMON_RATE


class Plan(BaseModel):
    """A study: losses × seeds under one protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    losses: tuple[str, ...] = Field(DEFAULT_LOSSES, min_length=1)
    seeds: int = Field(5, ge=1)
    protocol: Protocol = Protocol()


def default_protocol(table: LabelTable, **changes: Any) -> Protocol:
    """The protocol for this kind of data, with the changes that are not None.

    Images (features of a frozen backbone) get a linear head; feature tables one hidden layer of 256 with
    dropout 0.5; pixel canvases a hidden layer of 64 on top of their own small network, in batches of 64.
    """
    if table.features is None:
        kind: dict[str, Any] = {}
    elif table.features.ndim == 2:
        kind = {"hidden": 256, "dropout": 0.5}
    else:
        kind = {"hidden": 64, "batch_size": 64}
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("hidden") == 0:
        kind["dropout"] = 0.0
    return Protocol(**{**kind, **given})


def parse_losses(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of losses, checking each; options stand in brackets.

    >>> parse_losses("two-way, focal(gamma=1.0, alpha=0.5)")
    ('two-way', 'focal(gamma=1.0, alpha=0.5)')

    Raises:
        OptionError: an unknown loss or option, or one loss twice.
    """
    parts = [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    if not parts:
        raise OptionError(f"no loss in {text!r}: name one or more of {', '.join(losses.names())}")
    built = [losses.build(part) for part in parts]
    if reduced := [loss for loss in built if "reduction" in loss.options]:
        raise OptionError(f"{reduced[0]}: a study trains on the mean: leave out reduction")
    expressions = tuple(repr(loss) for loss in built)
    meanings = [(loss.name, loss.all_options()) for loss in built]
    for place, meaning in enumerate(meanings):
        if meaning in meanings[:place]:
            raise OptionError(f"{expressions[place]} stands twice in the losses: name each once")
    return expressions


def check_learnable(table: LabelTable) -> None:
    """Refuse a table that no study can say anything about.

    Raises:
        DataError: fewer rows than classes, or a part without any positive.
    """
    if len(table) < len(table.names):
        raise DataError(
            f"{table.source}: {len(table)} rows for {len(table.names)} classes: labels need one row per item "
            "and one column per class; merge or drop classes, or add rows"
        )
    needs = {"train": "nothing can be learnt", "val": "no epoch can be chosen", "test": "nothing can be measured"}
    for part, consequence in needs.items():
        if not (table.labels[table.part(part)] == PRESENT).any():
            raise DataError(f"{table.source}: no class has a positive in the {part} part, so {consequence}")


def identity(plan: Plan, table: LabelTable, backbone: dict[str, Any] | None) -> dict[str, Any]:
    """What must be equal for two commands to belong to one study; more losses or seeds may join it."""
    return {
        "source": table.source,
        "data": table.fingerprint(),
        "backbone": backbone,
        "protocol": json.loads(plan.protocol.model_dump_json()),
    }
