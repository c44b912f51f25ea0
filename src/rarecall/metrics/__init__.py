"""Metrics of scores against targets that are present (1), absent (0) or unknown (-1)."""

from typing import TYPE_CHECKING, Any

from rarecall.metrics._calibration import (
    Platt,
    Reliability,
    brier_score,
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    reliability,
)
from rarecall.metrics._decisions import (
    ConfusionCounts,
    Decisions,
    InstanceMetrics,
    accuracy,
    balanced_accuracy,
    confusion_counts,
    hamming_loss,
    instance_metrics,
    mean_accuracy,
    precision_recall_f1,
    subset_accuracy,
)
from rarecall.metrics._measure import Measured, calibration_figures, decision_figures, measure, ranking_figures
from rarecall.metrics._ranking import (
    average_precision,
    coverage_error,
    mean_average_precision,
    ranking_loss,
    recall_at_precision,
    roc_auc,
)
from rarecall.metrics._retrieval import Retrieval, cumulative_matching
from rarecall.metrics._shared import mean_of_present
from rarecall.metrics._summary import summarise
from rarecall.metrics._thresholds import SHRINKAGE, Gain, cross_validated_gain, fit_thresholds
from rarecall.metrics._top_k import top_1_accuracy, top_k, top_k_recall

if TYPE_CHECKING:
    from rarecall.metrics._collector import Collector

__all__ = [
    "SHRINKAGE",
    "Collector",
    "ConfusionCounts",
    "Decisions",
    "Gain",
    "InstanceMetrics",
    "Measured",
    "Platt",
    "Reliability",
    "Retrieval",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "brier_score",
    "calibration_figures",
    "confusion_counts",
    "coverage_error",
    "cross_validated_gain",
    "cumulative_matching",
    "decision_figures",
    "expected_calibration_error",
    "fit_platt",
    "fit_temperature",
    "fit_thresholds",
    "hamming_loss",
    "instance_metrics",
    "mean_accuracy",
    "mean_average_precision",
    "mean_of_present",
    "measure",
    "precision_recall_f1",
    "ranking_figures",
    "ranking_loss",
    "recall_at_precision",
    "reliability",
    "roc_auc",
    "subset_accuracy",
    "summarise",
    "top_1_accuracy",
    "top_k",
    "top_k_recall",
]


def __getattr__(name: str) -> Any:
    """The collector, whose base takes a second to import, only when it is asked for."""
    if name == "Collector":
        from rarecall.metrics._collector import Collector

        return Collector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
