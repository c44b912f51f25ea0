"""Speed and memory of every loss, forward and backward, against PyTorch's cross-entropy and timm's losses.

    python benchmarks/losses.py            # all sizes; about three minutes
    python benchmarks/losses.py two-way    # only losses whose name contains this

A ratio is the best of five medians over the best of five medians of `F.binary_cross_entropy_with_logits`, in calls
that take turns, so that what slows the machine slows both. On a GPU, where there is one, the host must not wait for
it. Results of dated runs stand in RESULTS.md.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import timm.loss
import torch
import torch.nn.functional as F
from torch import Tensor

from rarecall import losses
from rarecall.losses import _kernel

SIZES = ((512, 80), (512, 620), (256, 9605))
POSITIVES = 0.03
ROUNDS, SECONDS = 5, 0.12
POINTWISE_GOAL, RANKING_GOAL, MEMORY_GOAL = 1.5, 2.0, 2.0
RANKING = ("softmax-regression", "lsep", "zlpr", "multi-similarity", "circle", "two-way", "distributionally-robust")
LEAN = ("focal", "asymmetric", "soft-selection", "distributionally-robust", "two-way")
VARIANTS = ("two-way(ways='sample')", "two-way(ways='class')", "two-way(bucket_size=128)", "lsep(ways='class')")
Call = Callable[[], Tensor]


def batch(rows: int, classes: int, device: str) -> tuple[Tensor, Tensor]:
    """Logits as of a network that has learnt what is rare, and targets."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, classes, generator=generator) - 3
    targets = (torch.rand(rows, classes, generator=generator) < POSITIVES).float()
    return logits.to(device).requires_grad_(), targets.to(device)


def calls(logits: Tensor, targets: Tensor, only: str) -> dict[str, Call]:
    """What is timed."""
    rows = torch.arange(len(targets), device=targets.device)
    expected = {"expected-positive", "role"}
    result: dict[str, Call] = {}
    for name in (*losses.names(), *VARIANTS):
        if only not in name:
            continue
        options = {"expected_positives": targets.sum(1).mean().item()} if name in expected else {}
        module = losses.build(name, labels=targets.to(torch.int8), **options).to(targets.device)
        module.set_progress(0.5, 10)
        result[name] = lambda module=module: module(logits, targets, rows)
    peers = {"timm two-way": timm.loss.TwoWayLoss(), "timm asymmetric": timm.loss.AsymmetricLossMultiLabel()}
    return result | {name: lambda peer=peer: peer(logits, targets) for name, peer in peers.items() if only in name}


def timed(call: Call, logits: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    logits.grad = None
    start = time.perf_counter()
    call().backward()
    if logits.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratio(call: Call, base: Call, logits: Tensor) -> tuple[float, float]:
    """Best of five medians over that of the base, in calls that take turns; and the seconds of the first."""
    for _ in range(3):
        seconds = timed(call, logits) + timed(base, logits)
    number = max(5, int(SECONDS / seconds))
    medians = []
    for _ in range(ROUNDS):
        pairs = [(timed(call, logits), timed(base, logits)) for _ in range(number)]
        medians.append([statistics.median(times) for times in zip(*pairs, strict=True)])
    own, other = (min(times) for times in zip(*medians, strict=True))
    return own / other, own


def peak_memory(call: Call, logits: Tensor) -> float:
    """Most memory that one forward and backward pass holds besides its inputs, in sizes of the logits."""
    logits.grad = None
    size = logits.numel() * logits.element_size()
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call().backward()
        return (torch.cuda.max_memory_allocated() - before) / size
    with torch.profiler.profile(profile_memory=True) as profile:
        call().backward()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [event["args"] for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for change in changes:
        held += change["Bytes"]
        peak = max(peak, held)
    return peak / size


def waits(call: Call) -> bool:
    """Whether the host waits for the GPU inside the call."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        call().backward()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


def main() -> None:
    """Measure and print."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(2)
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    kernel = "with" if _kernel.LIBRARY is not None else "without"
    print(f"{date.today()}  torch {torch.__version__}  timm {timm.__version__}  {where}  {kernel} kernel")
    print("forward + backward, F.binary_cross_entropy_with_logits = 1")
    table: dict[str, list[str]] = {}
    own: dict[tuple[str, int], float] = {}
    for place, size in enumerate(SIZES):
        logits, targets = batch(*size, device)
        base = partial(F.binary_cross_entropy_with_logits, logits, targets)
        for name, call in calls(logits, targets, only).items():
            times, own[name, place] = ratio(call, base, logits)
            goal = RANKING_GOAL if name.partition("(")[0] in RANKING else POINTWISE_GOAL
            missed = "!" if times > goal and not name.startswith("timm") else " "
            table.setdefault(name, []).append(f"{times:9.2f}{missed}")
            if place == len(SIZES) - 1:
                memory = peak_memory(call, logits)
                missed = "!" if name in LEAN and memory > MEMORY_GOAL else " "
                table[name].append(f"{memory:8.2f}{missed}")
                if device == "cuda":
                    table[name].append("   waits" if waits(call) else "")
    print(f"{'':36}" + "".join(f"{f'{rows} x {classes}':>10}" for rows, classes in SIZES) + "    memory")
    for name, cells in table.items():
        print(f"{name:36}" + "".join(cells))
    for peer in ("two-way", "asymmetric"):
        if (f"timm {peer}", 0) in own and (peer, 0) in own:
            faster = [own[f"timm {peer}", place] / own[peer, place] for place in range(len(SIZES))]
            print(f"{peer}: faster than timm's by {', '.join(f'{times:.1f}' for times in faster)}")


if __name__ == "__main__":
    main()
