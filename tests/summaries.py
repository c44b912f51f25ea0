"""Summaries of studies that were not run."""

from rarecall.audit import Audit, audit
from rarecall.data import load
from rarecall.studies.plan import Protocol
from rarecall.studies.summary import Curve, Difference, Entry, RateSearch, Spread, Summary

SETTINGS = {"head_only": True, "epochs": 2, "batch_size": 8, "drop_last": False, "augmentation": "none"}

SEARCHED = {"0.001": 30.0, "0.003": 40.0, "0.01": None}


def protocol(**changes: object) -> Protocol:
    """A protocol of heads."""
    return Protocol(**{**SETTINGS, "rates": (1e-3, 3e-3, 1e-2), **changes})


def entry(loss: str, mean: float = 0.0, low: float = 0.0, high: float = 0.0, **changes: object) -> Entry:
    """A line of a leaderboard, as far from the best as given, on all classes alone."""
    figures = {name: Spread(mean=50 + mean, sd=0.4) for name in ("map_class", "map_sample", "macro_f1")}
    values = {
        "loss": loss, "rate": 3e-3, "epochs": [2] * 5, "figures": figures,
        "to_best": {"all": Difference(mean=mean, low=low, high=high)}, "over_seeds": {"all": None},
        "validation": 50 + mean,
    }  # fmt: skip
    return Entry(**{**values, **changes})


def summary_of(*entries: Entry, facts: Audit | None = None, **changes: object) -> Summary:
    """A summary with that leaderboard."""
    losses = [one.loss for one in entries]
    values = {
        "torch": "2", "command": "rarecall study x", "train_command": "rarecall train x --from-study s",
        "seeds": 5, "losses": losses, "protocol": protocol(), "backbone": None,
        "rates": {loss: RateSearch(validation=SEARCHED, chosen=3e-3) for loss in losses},
        "curves": {loss: [Curve(train_loss=[1.0, 0.5], val_map=[30.0, 40.0])] * 5 for loss in losses},
        "counted_classes": {"all": 20}, "tuned": list(entries), "common": list(entries), "not_found": [],
        "not_measured": [], "notes": [], "seconds": {"training": 1.0}, "data": facts or audit(load("digits")),
    }  # fmt: skip
    return Summary(**{**values, **changes})
