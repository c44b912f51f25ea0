"""Figures of the metrics: seconds beside scikit-learn, timm and torchmetrics, memory at full size, the bootstrap.

    python benchmarks/metrics.py [all | ranking | everything | large | bootstrap]

Peers compute the same thing on the same data in the same run, taking turns; the smallest of five times counts.
`large` runs in a fresh process, whose memory is the largest that it ever held, Python and its libraries included.
Results of dated runs stand in RESULTS.md.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn import metrics as peers
from timm.task.evaluator import MultiLabelClassificationEvaluator
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision

from rarecall import metrics, statistics

ROUNDS = 5
LARGE = """
import pathlib, re, time, torch
from rarecall import metrics
torch.set_num_threads(2)
generator = torch.Generator().manual_seed(0)
scores = torch.empty({samples}, {classes}, dtype=torch.float16).normal_(generator=generator)
targets = torch.empty({samples}, {classes}, dtype=torch.int8).bernoulli_(0.01, generator=generator)
scores += targets
def largest():
    return int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 2**20
inputs, start = largest(), time.perf_counter()
{call}
seconds = time.perf_counter() - start
print(f"{{seconds:.0f}} s, {{largest():.1f}} GiB at most, of which inputs and libraries {{inputs:.1f}}")
"""


def sample(samples: int, classes: int, rate: float = 0.03) -> tuple[Tensor, Tensor]:
    """Float32 scores that know a little of the targets."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(samples, classes, generator=generator) < rate).to(torch.int8)
    return torch.randn(samples, classes, generator=generator) + targets, targets


def seconds(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """The smallest time of each call; the calls take turns."""
    found = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return {name: min(times) for name, times in found.items()}


def show(title: str, times: dict[str, float]) -> None:
    """One line for each call, with its ratio to the first."""
    print(title)
    own = next(iter(times.values()))
    for name, value in times.items():
        print(f"  {name}: {value:.3f} s, {value / own:.1f} times ours", flush=True)


def by_timm(scores: Tensor, targets: Tensor) -> float:
    """The evaluator of timm, which also computes a loss and three F1."""
    evaluator = MultiLabelClassificationEvaluator()
    evaluator.update(scores, targets)
    return evaluator.compute()["map"]


def ranking() -> None:
    """Average precision of 40,137 × 80, as COCO's validation part has them."""
    scores, targets = sample(40_137, 80)
    known, ranked, labels = targets.numpy(), scores.numpy(), targets.long()
    calls = {
        "rarecall": lambda: metrics.average_precision(scores, targets),
        "timm's evaluator": lambda: by_timm(scores, targets),
        "scikit-learn": lambda: peers.average_precision_score(known, ranked, average=None),
        "torchmetrics": lambda: multilabel_average_precision(scores, labels, num_labels=80, average="none"),
    }
    show("average precision, 40,137 × 80", seconds(calls))
    ours = calls["rarecall"]().numpy()
    print(f"  largest difference from scikit-learn: {np.abs(ours - calls['scikit-learn']()).max():.1e}")
    double = scores.double()
    calls = {
        "rarecall": lambda: metrics.average_precision(double, targets),
        "scikit-learn": lambda: peers.average_precision_score(known, double.numpy(), average=None),
    }
    show("the same in float64", seconds(calls))


def by_scikit_learn(known: np.ndarray, ranked: np.ndarray) -> None:
    """The metrics of `measure` that scikit-learn has."""
    decided = ranked >= 0
    for average in (None, "macro", "micro", "samples"):
        peers.precision_recall_fscore_support(known, decided, average=average, zero_division=0)
    peers.average_precision_score(known, ranked, average=None)
    peers.roc_auc_score(known, ranked, average=None)
    peers.label_ranking_average_precision_score(known, ranked)
    peers.coverage_error(known, ranked)
    peers.label_ranking_loss(known, ranked)
    peers.hamming_loss(known, decided)
    peers.accuracy_score(known, decided)
    peers.multilabel_confusion_matrix(known, decided)


def everything() -> None:
    """Every metric at once beside those that scikit-learn has of them."""
    scores, targets = sample(40_137, 80)
    known, ranked = targets.numpy(), scores.numpy()
    calls = {
        "rarecall": lambda: metrics.measure(scores, targets, torch.zeros(80), probabilities=scores.sigmoid()),
        "rarecall, average precision alone": lambda: metrics.average_precision(scores, targets),
        "scikit-learn, the metrics that it has": lambda: by_scikit_learn(known, ranked),
    }
    show("every metric, 40,137 × 80", seconds(calls, 3))


def large() -> None:
    """Memory and time of 125,000 × 9,605 scores in float16."""
    for name, call in (
        ("average precision", "metrics.average_precision(scores, targets)"),
        ("every metric", "metrics.measure(scores, targets, torch.zeros(9605))"),
    ):
        code = LARGE.format(samples=125_000, classes=9_605, call=call)
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        print(f"{name} of 125,000 × 9,605 in float16: {found.stdout.strip()}", flush=True)


def bootstrap() -> None:
    """1,000 resamples of mAP on 5,000 × 80."""
    scores, targets = sample(5_000, 80)
    groups = {"all": np.arange(80)}
    start = time.perf_counter()
    found = statistics.bootstrap_interval(scores, targets, groups, resamples=1000)
    print(f"bootstrap, 1,000 resamples of mAP on 5,000 × 80: {time.perf_counter() - start:.1f} s, {found['all']}")


PARTS = {"ranking": ranking, "everything": everything, "large": large, "bootstrap": bootstrap}


def main() -> None:
    """Run one part or all."""
    torch.set_num_threads(2)
    wanted = sys.argv[1] if len(sys.argv) > 1 else "all"
    for name, part in PARTS.items():
        if wanted in (name, "all"):
            part()


if __name__ == "__main__":
    main()
