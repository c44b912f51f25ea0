"""Studies: which loss finds the rare labels best on one's own data, and how sure that is."""

from rarecall.studies.plan import (
    Finetuning,
    Plan,
    Protocol,
    default_protocol,
    finetuning,
    idle_rules,
    parse_losses,
)
from rarecall.studies.results import Results, collect
from rarecall.studies.runner import Study, study

__all__ = [
    "Finetuning",
    "Plan",
    "Protocol",
    "Results",
    "Study",
    "collect",
    "default_protocol",
    "finetuning",
    "idle_rules",
    "parse_losses",
    "study",
]
