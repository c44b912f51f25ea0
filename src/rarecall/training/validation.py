"""What a training is judged by after each epoch."""

import numpy as np
import torch

from rarecall import losses, metrics
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError
from rarecall.inference.scoring import default_batch, score_table
from rarecall.labels import PRESENT, count, measured_groups
from rarecall.models import Classifier
from rarecall.training.config import Training
from rarecall.training.guards import NotFiniteError


class Validation:
    """The figures of the validation part; an image that cannot be read counts as unlabelled."""

    def __init__(self, training: Training, table: LabelTable) -> None:
        self.table, self.metric = table, training.metric
        self.batch_size = training.batch_size
        self.rows = table.part("val")
        positives = count(table.labels[table.part("train")]).present
        self.groups = measured_groups(table.labels[self.rows], positives)
        group = self.metric.removeprefix("map_")
        if group in ("head", "medium", "tail") and group not in self.groups:
            raise OptionError(f"metric {self.metric}: no {group} class has a positive in the validation part")

    def __call__(self, network: Classifier, loss: losses.Loss) -> dict[str, float]:
        logits, targets, _ = score_table(network, self.table, self.rows, min(self.batch_size, default_batch(network)))
        if not (targets == PRESENT).any():
            raise DataError(f"{self.table.source}: no validation image with a positive can be read: check the disk")
        if not logits.isfinite().all():
            raise NotFiniteError(
                "the network's logits are not finite on validation: try a lower --rate, or --clip 1, with another --out"
            )
        own_thresholds = torch.zeros(logits.shape[1])  # a score of one half
        figures = metrics.summarise(logits, targets, own_thresholds, self.groups)
        with torch.inference_mode():
            device = network.mean.device
            value = float(loss(logits.to(device), targets.to(device)))
        return {"val_loss": value} | {f"val_{name}": figure for name, figure in figures.items()}


def rank(row: dict[str, float], training: Training) -> float:
    """Higher is better; what does not exist is worst."""
    value = -row["val_loss"] if training.metric == "loss" else row[f"val_{training.metric}"]
    return float(np.nan_to_num(value, nan=-np.inf))
