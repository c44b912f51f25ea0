"""What a study compares, and the one protocol that every loss is trained under."""

import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rarecall import losses, metrics
from rarecall.data.table import LabelTable
from rarecall.errors import OptionError
from rarecall.labels import UNKNOWN, LabelMatrix
from rarecall.models import head_defaults
from rarecall.training.config import Recipe, Training, checked, recipe, training

DEFAULT_LOSSES = ("binary-cross-entropy", "focal", "asymmetric", "two-way", "distributionally-robust")
RATES = (1e-3, 3e-3, 1e-2)
COMMON_RATE = 3e-3
FINETUNING_RATES = (3e-4, 1e-3, 3e-3)


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


class Finetuning(Recipe):
    """How whole networks are trained: the same for every loss, seed and rate."""

    rates: tuple[float, ...] = FINETUNING_RATES
    common_rate: float = FINETUNING_RATES[1]

    def training(self, loss: str, rate: float, seed: int) -> Training:
        """The settings of one run."""
        return training(Recipe(**self.model_dump(exclude={"rates", "common_rate"})), loss, rate=rate, seed=seed)


class Plan(BaseModel):
    """A study: losses × seeds under one protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    losses: tuple[str, ...] = Field(DEFAULT_LOSSES, min_length=1)
    seeds: int = Field(5, ge=1)
    protocol: Protocol | Finetuning = Protocol()


def default_protocol(table: LabelTable, **changes: Any) -> Protocol:
    """The protocol for this kind of data (`models.head_defaults`), with the changes that are not None."""
    kind = head_defaults(None if table.features is None else table.features.shape[1:])
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("hidden") == 0:
        kind["dropout"] = 0.0
    return Protocol(**{**kind, **given})


def finetuning(table: LabelTable, rates: tuple[float, ...] | None = None, **changes: Any) -> Finetuning:
    """The protocol of whole networks for this data, with the changes that are not None.

    The common rate, at which all losses are compared besides their own ones, is the middle one of the grid.

    Raises:
        OptionError: a feature table, which has no backbone to tune.
    """
    if table.features is not None:
        raise OptionError(f"--finetune: {table.source} has features, not images: leave it out")
    rates = rates or FINETUNING_RATES
    settings = recipe(table, **changes).model_dump()
    return checked(Finetuning, **settings, rates=rates, common_rate=rates[len(rates) // 2])


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
    built = [losses.preview(part) for part in parts]
    if reduced := [loss for loss in built if loss.reduction != "mean"]:
        raise OptionError(f"{reduced[0]}: a study trains on the mean: leave out reduction")
    expressions = tuple(repr(loss) for loss in built)
    meanings = [loss.meaning() for loss in built]
    for place, meaning in enumerate(meanings):
        if meaning in meanings[:place]:
            raise OptionError(f"{expressions[place]} stands twice in the losses: name each once")
    return expressions


def idle_rules(expressions: tuple[str, ...], labels: LabelMatrix) -> list[str]:
    """A sentence about losses that are rules for unknown labels, if there are no such labels.

    >>> import numpy as np
    >>> idle_rules(("focal", "generalized-robust"), np.array([[1, 0]], np.int8))
    ['no training label is unknown: generalized-robust: nothing for a rule about unknown labels to act on']
    """
    rules = [text for text in expressions if losses.preview(text).about_unknown]
    if not rules or (labels == UNKNOWN).any():
        return []
    return [f"no training label is unknown: {', '.join(rules)}: nothing for a rule about unknown labels to act on"]


def identity(plan: Plan, table: LabelTable, backbone: dict[str, Any] | None) -> dict[str, Any]:
    """What must be equal for two commands to belong to one study; more losses or seeds may join it."""
    return {
        "source": table.source,
        "data": table.fingerprint(),
        "backbone": backbone,
        "protocol": json.loads(plan.protocol.model_dump_json()),
        "thresholds": f"best F1, shrinkage {metrics.SHRINKAGE:g}",
    }
