"""Metrics of scores against targets that are present (1), absent (0) or unknown (-1)."""

from rarecall.metrics._decisions import Decisions, fit_thresholds, precision_recall_f1
from rarecall.metrics._ranking import average_precision, mean_average_precision, mean_of_present
from rarecall.metrics._summary import summarise

__all__ = [
    "Decisions",
    "average_precision",
    "fit_thresholds",
    "mean_average_precision",
    "mean_of_present",
    "precision_recall_f1",
    "summarise",
]
