"""What a training is judged by after each epoch."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rarecall import losses, metrics
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, TrainingError
from rarecall.labels import LabelMatrix, count, measured_groups
from rarecall.settings import Recipe

CHOOSE_PART = {"part": "val", "test": "test"}


class NotFiniteError(TrainingError):
    """The loss or the logits are no longer finite numbers."""


def rows_to_choose_on(recipe: Recipe, table: LabelTable) -> np.ndarray:
    """The rows that the epoch and the rate are chosen on; none with `val="none"`."""
    part = CHOOSE_PART.get(recipe.val)
    return np.empty(0, np.int64) if part is None else table.part(part)


class Validation:
    """The figures of an epoch, of which the recipe's metric picks the best."""

    def __init__(self, recipe: Recipe, table: LabelTable) -> None:
        self.recipe, self.source = recipe, table.source
        self.rows = rows_to_choose_on(recipe, table)
        self.groups = self._groups(table.labels[self.rows], count(table.labels[table.part("train")]).present)

    def figures(self, logits: Tensor, targets: Tensor, loss: losses.Loss) -> dict[str, float]:
        """Every figure as `val_*`; the loss too, unless it is one of training items alone.

        Raises:
            NotFiniteError: the logits are not finite.
        """
        _require_finite(logits)
        figures = metrics.summarise(logits, targets, torch.zeros(logits.shape[1]), self.groups)  # a score of one half
        return _loss_value(loss, logits, targets) | {f"val_{name}": one for name, one in figures.items()}

    def figure(self, logits: Tensor, targets: Tensor, loss: losses.Loss) -> dict[str, float]:
        """The figures that a study keeps: mAP@class, and the recipe's metric where that is another.

        Raises:
            NotFiniteError: the logits are not finite.
        """
        _require_finite(logits)
        if self.recipe.metric == "map_class":
            return {"val_map_class": metrics.mean_average_precision(logits, targets).item()}
        return self.figures(logits, targets, loss)

    def rank(self, row: Mapping[str, float]) -> float:
        """How good an epoch is by the recipe's metric: higher is better; what does not exist is worst."""
        value = row.get(f"val_{self.recipe.metric}", np.nan)
        return float(np.nan_to_num(-value if self.recipe.metric == "loss" else value, nan=-np.inf))

    def best(self, history: list[dict[str, float]]) -> int:
        """The number of the epoch to keep, from 1, of those so far; 0 of none."""
        if self.recipe.select == "last" or not history:
            return len(history)
        return 1 + int(np.argmax([self.rank(row) for row in history]))

    def lost_patience(self, history: list[dict[str, float]]) -> bool:
        """Whether so many epochs were no better than the best before them, by more than the tolerance."""
        if self.recipe.patience is None or not len(self.rows):
            return False
        reached, since = -np.inf, 0
        for rank in map(self.rank, history):
            better = rank > reached + self.recipe.tolerance
            reached, since = (rank, 0) if better else (reached, since + 1)
        return since >= self.recipe.patience

    def _groups(self, targets: LabelMatrix, positives: np.ndarray) -> dict[str, np.ndarray]:
        groups = measured_groups(targets, positives)
        group = self.recipe.metric.removeprefix("map_")
        if len(self.rows) and group in ("head", "medium", "tail") and group not in groups:
            raise OptionError(f"metric {self.recipe.metric}: no {group} class has a positive in the validation part")
        return groups


def _require_finite(logits: Tensor) -> None:
    if not logits.isfinite().all():
        raise NotFiniteError(
            "the network's logits are not finite on validation: try a lower --rate, or --clip 1, with another --out"
        )


def require_positives(targets: Tensor, source: str) -> None:
    """Refuse validation images of which none can be read.

    Raises:
        DataError: nothing is present.
    """
    if not (targets > 0).any():
        raise DataError(f"{source}: no validation image with a positive can be read: check the disk")


@torch.inference_mode()
def _loss_value(loss: losses.Loss, logits: Tensor, targets: Tensor) -> dict[str, float]:
    """The loss as `val_loss`; a loss of training items alone has none."""
    if loss.needs_rows:
        return {}
    place = next(iter([*loss.parameters(), *loss.buffers()]), logits).device
    return {"val_loss": float(loss(logits.to(place), targets.to(place)))}
