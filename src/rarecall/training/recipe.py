"""The recipe that fits some data."""

from typing import Any

from rarecall.data.table import LabelTable
from rarecall.models import head_defaults
from rarecall.settings import HEAD, NETWORK, WARMUP, Recipe, checked, refuse_contradictions


def recipe_for(table: LabelTable, *, head_only: bool = False, **changes: Any) -> Recipe:
    """The recipe for this data, with the changes that are not None.

    Feature tables have no backbone to tune, so they are trained as heads.

    Raises:
        OptionError: an unknown setting, a value out of its range, or a combination that means nothing.
    """
    head_only = head_only or table.features is not None
    given = {name: value for name, value in changes.items() if value is not None}
    for_heads = head_defaults(None if table.features is None else table.features.shape[1:]) if head_only else {}
    kind = {**(HEAD if head_only else NETWORK), **for_heads}
    del kind["rate"]
    if not head_only and "warmup_steps" not in given:
        kind["warmup_epochs"] = min(1.0, WARMUP * _number(given.get("epochs", kind["epochs"])))
    if head_only and given.get("precision") == "auto":
        del given["precision"]  # a head is small: half precision would only cost digits
    if given.get("hidden") == 0:
        kind["dropout"] = 0.0
    if given.get("val") == "none":
        kind["select"] = "last"
    own = checked(Recipe, **{**kind, **given, "head_only": head_only})
    refuse_contradictions(own, given)
    return own


def _number(value: Any) -> float:
    """A number to compute a default of; what is none is refused with the other settings."""
    return value if isinstance(value, int | float) else 1.0
