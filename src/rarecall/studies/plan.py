"""What a study compares, and the one protocol that every loss is trained under."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rarecall import losses, metrics
from rarecall.data.table import LabelTable
from rarecall.errors import OptionError
from rarecall.labels import UNKNOWN, LabelMatrix
from rarecall.preparation import Prepared
from rarecall.settings import RATES, Protocol, checked
from rarecall.training import recipe_for

DEFAULT_LOSSES = ("binary-cross-entropy", "focal", "asymmetric", "two-way", "distributionally-robust")


class Plan(BaseModel):
    """A study: losses × seeds under one protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    losses: tuple[str, ...] = Field(DEFAULT_LOSSES, min_length=1)
    seeds: int = Field(5, ge=1)
    protocol: Protocol

    @property
    def common_rate(self) -> float:
        """The rate at which all losses are compared besides their own ones."""
        return self.protocol.common_rate


def protocol(table: LabelTable, *, finetune: bool = False, rates: Any = None, **changes: Any) -> Protocol:
    """The protocol for this data, of heads or of whole networks, with the changes that are not None.

    Raises:
        OptionError: a setting out of its range, whole networks for a feature table, or several rates without a part
            to choose among them on.
    """
    if finetune and table.features is not None:
        raise OptionError(f"--finetune: {table.source} has features, not images: leave it out")
    if not finetune and changes.get("augmentation") not in (None, "none"):
        raise OptionError(
            f"--augmentation {changes['augmentation']}: heads are trained on features: pass --finetune, too"
        )
    if not finetune and changes.get("precision") not in (None, "32", "auto"):
        raise OptionError(f"--precision {changes['precision']}: heads of a study are trained in float32: leave it out")
    settings = recipe_for(table, head_only=not finetune, **changes)
    default = RATES[settings.head_only]
    if settings.val == "none" and rates is None:
        default = default[1:2]
    own = checked(Protocol, **settings.model_dump(), rates=default if rates is None else rates)
    if own.val == "none" and len(own.rates) > 1:
        raise OptionError("--val none: there is no part to choose among several rates on: pass one, as in --rates 3e-3")
    return own


def make_plan(losses: Sequence[str] | None, seeds: int, protocol: Protocol) -> Plan:
    """The plan of a study; every loss is tried under the protocol before anything is done.

    Raises:
        OptionError: no seed, or a loss that cannot be trained so.
    """
    own = checked(Plan, losses=tuple(losses or DEFAULT_LOSSES), seeds=seeds, protocol=protocol)
    for loss in own.losses:
        own.protocol.training(loss, rate=own.common_rate)
    return own


def parse_losses(named: str | Sequence[str]) -> tuple[str, ...]:
    """Losses in a list, or in a text separated by commas; each is checked, and options stand in brackets.

    >>> parse_losses("two-way, focal(gamma=1.0, alpha=0.5)")
    ('two-way', 'focal(gamma=1.0, alpha=0.5)')

    Raises:
        OptionError: an unknown loss or option, or one loss twice.
    """
    parts = _at_commas(named) if isinstance(named, str) else [part.strip() for part in named]
    if not parts:
        raise OptionError(f"no loss in {named!r}: name one or more of {', '.join(losses.names())}")
    built = [losses.preview(part) for part in parts]
    if reduced := [loss for loss in built if loss.reduction != "mean"]:
        raise OptionError(f"{reduced[0]}: a study trains on the mean: leave out reduction")
    expressions = tuple(repr(loss) for loss in built)
    meanings = [loss.meaning() for loss in built]
    for place, meaning in enumerate(meanings):
        if meaning in meanings[:place]:
            raise OptionError(f"{expressions[place]} stands twice in the losses: name each once")
    return expressions


def _at_commas(text: str) -> list[str]:
    """The parts between the commas that stand outside brackets."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


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


def identity(plan: Plan, prepared: Prepared, backbone: dict[str, Any] | None) -> dict[str, Any]:
    """What must be equal for two commands to belong to one study; more losses or seeds may join it."""
    return {
        "source": prepared.table.source,
        "data": prepared.divided.fingerprint,
        "parts": prepared.divided.parts.digest(),
        "rows": prepared.digest(),
        "backbone": backbone,
        "protocol": plan.protocol.model_dump(mode="json"),
        "shrinkage": metrics.SHRINKAGE,
    }
