"""Prediction: a run folder becomes names, scores and decisions for images, and figures for labelled data."""

from rarecall.inference.evaluation import Evaluation, evaluate, evaluate_scores, judge
from rarecall.inference.predictor import Predictions, Predictor
from rarecall.inference.run_folder import RunCard
from rarecall.inference.scored import SCALES, Scored, part_of, scored_by, scored_in

__all__ = [
    "SCALES",
    "Evaluation",
    "Predictions",
    "Predictor",
    "RunCard",
    "Scored",
    "evaluate",
    "evaluate_scores",
    "judge",
    "part_of",
    "scored_by",
    "scored_in",
]
