"""Prediction: a run folder becomes names, scores and decisions for images, and figures for labelled data."""

from rarecall.inference.evaluation import Evaluation, evaluate, part_of
from rarecall.inference.predictor import Predictions, Predictor

__all__ = ["Evaluation", "Predictions", "Predictor", "evaluate", "part_of"]
