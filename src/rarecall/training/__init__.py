"""Training: a network, a loss and a data set become a run folder."""

from rarecall.settings import Recipe, Training
from rarecall.training.loop import Fitted, fit
from rarecall.training.recipe import recipe_for
from rarecall.training.run import Outcome, build, conclude, train

__all__ = ["Fitted", "Outcome", "Recipe", "Training", "build", "conclude", "fit", "recipe_for", "train"]
