"""Training one head on features that lie in memory."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from rarecall import losses, metrics
from rarecall.models import build_head
from rarecall.studies.plan import Protocol
from rarecall.studies.runs import Job, Run


@dataclass(frozen=True)
class Part:
    """Features (N, ...) and targets (N, C) of one part of the split."""

    features: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Parts:
    """The three parts."""

    train: Part
    val: Part
    test: Part


class Stopwatch:
    """Adds up the time spent inside named blocks."""

    def __init__(self) -> None:
        self.seconds = {"training": 0.0, "evaluation": 0.0}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[name] += perf_counter() - start


def train_head(job: Job, parts: Parts, protocol: Protocol) -> Run:
    """Train one head; validation mAP@class picks the epoch, and the test part is scored once, at the end.

    The seed decides initialisation, batch order and dropout, each from a stream of its own; the same seed
    starts every loss from the same weights and shows it the same batches. A run whose loss is no longer finite
    stops there and keeps its best epoch so far.
    """
    initial, order, dropout = (int(state) for state in np.random.SeedSequence(job.seed).generate_state(3))
    watch = Stopwatch()
    loss = losses.build(job.loss, labels=parts.train.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial)
        head = build_head(
            tuple(parts.train.features.shape[1:]),
            parts.train.targets.shape[1],
            protocol.hidden,
            protocol.dropout,
        )
        torch.manual_seed(dropout)
        shuffler = torch.Generator().manual_seed(order)
        groups = [{"params": list(head.parameters()), "times": 1.0}]
        groups += [{**group, "times": group["lr"] / job.rate} for group in loss.parameter_groups(job.rate)]
        optimizer = torch.optim.AdamW(groups, lr=job.rate, weight_decay=protocol.weight_decay, fused=True)
        best, epoch, kept = -1.0, 0, _copy(head)
        train_loss: list[float] = []
        val_map: list[float] = []
        items = len(parts.train.features)
        schedule = cosine(job.rate, protocol.epochs, steps=-(-items // protocol.batch_size))
        for number, rates in enumerate(schedule, start=1):
            loss.set_progress((number - 1) / protocol.epochs, protocol.epochs)
            with watch("training"):
                batches = torch.randperm(items, generator=shuffler).split(protocol.batch_size)
                mean = _train_epoch(head, loss, optimizer, parts.train, batches, rates)
                if loss.needs_scores:
                    loss.update(_logits(head, parts.train.features))
            with watch("evaluation"):
                logits = _logits(head, parts.val.features)
                if not (np.isfinite(mean) and bool(logits.isfinite().all())):
                    break
                value = metrics.mean_average_precision(logits, parts.val.targets).nan_to_num().item()
                train_loss.append(mean)
                val_map.append(value)
                if value > best:
                    best, epoch, kept = value, number, _copy(head)
        with watch("evaluation"):
            head.load_state_dict(kept)
            scores = _logits(head, parts.test.features)
            thresholds = metrics.fit_thresholds(
                _logits(head, parts.val.features), parts.val.targets, shrinkage=metrics.SHRINKAGE
            )
    return Run(
        job=job,
        epoch=epoch,
        validation=max(best, 0.0),
        scores=scores,
        thresholds=thresholds,
        train_loss=torch.tensor(train_loss),
        val_map=torch.tensor(val_map),
        diverged=len(val_map) < protocol.epochs,
        seconds=watch.seconds,
    )


def _train_epoch(
    head: nn.Module,
    loss: losses.Loss,
    optimizer: torch.optim.Optimizer,
    part: Part,
    batches: Sequence[Tensor],
    rates: Sequence[float],
) -> float:
    """One pass over the batches, each with its learning rate; returns the mean of their losses."""
    head.train()
    total = torch.zeros(())
    for rows, rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * group["times"]
        optimizer.zero_grad(set_to_none=True)
        value = loss(head(part.features[rows]), part.targets[rows], rows)
        value.backward()
        optimizer.step()
        total += value.detach()
    return float(total) / len(batches)


def cosine(rate: float, epochs: int, steps: int) -> list[list[float]]:
    """The learning rate of each step of each epoch: from `rate` towards 0 along half a cosine.

    >>> cosine(1.0, epochs=2, steps=1)
    [[1.0], [0.5]]
    """
    return [
        [rate * (1 + math.cos(math.pi * (epoch * steps + step) / (epochs * steps))) / 2 for step in range(steps)]
        for epoch in range(epochs)
    ]


@torch.inference_mode()
def _logits(head: nn.Module, features: Tensor) -> Tensor:
    head.eval()
    return torch.cat([head(batch) for batch in features.split(4096)])


def _copy(head: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in head.state_dict().items()}
