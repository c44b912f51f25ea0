"""Studies: which loss finds the rare labels best on one's own data, and how sure that is."""

from rarecall.studies.plan import Plan, Protocol, check_learnable, default_protocol, parse_losses
from rarecall.studies.results import Results, collect
from rarecall.studies.runner import Study, study

__all__ = [
    "Plan",
    "Protocol",
    "Results",
    "Study",
    "check_learnable",
    "collect",
    "default_protocol",
    "parse_losses",
    "study",
]
