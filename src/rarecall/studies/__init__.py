"""Studies: which loss finds the rare labels best on one's own data, and how sure that is."""

from rarecall.studies.plan import (
    Plan,
    Protocol,
    idle_rules,
    make_plan,
    parse_losses,
    protocol,
)
from rarecall.studies.results import Results, collect
from rarecall.studies.runner import Study, study

__all__ = [
    "Plan",
    "Protocol",
    "Results",
    "Study",
    "collect",
    "idle_rules",
    "make_plan",
    "parse_losses",
    "protocol",
    "study",
]
