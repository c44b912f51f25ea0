"""Training: a network, a loss and a data set become a run folder."""

from rarecall.training.config import Recipe, Training, recipe, training
from rarecall.training.listener import Listener, Silent
from rarecall.training.loop import Fitted, fit
from rarecall.training.run import Outcome, build, run_training, train

__all__ = [
    "Fitted",
    "Listener",
    "Outcome",
    "Recipe",
    "Silent",
    "Training",
    "build",
    "fit",
    "recipe",
    "run_training",
    "train",
    "training",
]
