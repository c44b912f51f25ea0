"""Figures of tables: seconds and memory to load a million rows, and memory of a study of large features.

    python benchmarks/tables.py

Each load runs in a fresh process; its memory is the largest that it ever held, Python and its libraries included.
Results of dated runs stand in RESULTS.md.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

ROWS, CLASSES, TAGS = 1_000_000, 1000, 5  # tags a row, on average
LOAD = """
import pathlib, re, sys, time
from rarecall import data
start, used = time.perf_counter(), time.process_time()
table = data.load(sys.argv[1])
seconds, busy = time.perf_counter() - start, time.process_time() - used
largest = int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
print(f"{seconds:.2f} s ({busy:.2f} s of processors), {largest / 2**20:.2f} GiB at most, labels {table.labels.shape}")
"""


def sparse_tags(names: bool) -> pl.DataFrame:
    """Image paths and lists of tags, as names or as numbers, the frequent classes a thousand times the rare ones."""
    random = np.random.default_rng(0)
    counts = random.integers(1, 2 * TAGS, ROWS)
    frequency = 1 / np.arange(1, CLASSES + 1)
    tags = random.choice(CLASSES, counts.sum(), p=frequency / frequency.sum())
    values = pl.Series("tags", tags)
    values = pl.Series("tags", [f"class {number:04d}" for number in range(CLASSES)]).gather(values) if names else values
    rows = pl.Series("row", np.repeat(np.arange(ROWS), counts))
    lists = pl.DataFrame([rows, values]).group_by("row", maintain_order=True).agg("tags")["tags"]
    return pl.DataFrame({"image": [f"photos/{row // 1000:04d}/{row:07d}.jpg" for row in range(ROWS)], "tags": lists})


def loaded(path: Path) -> str:
    """What a fresh process says of loading a file."""
    return subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], check=True, capture_output=True, text=True
    ).stdout.strip()


def parquet() -> None:
    """Print seconds and memory of Parquet tables of a million rows: tags as names, as numbers, and as saved."""
    from rarecall import data

    with tempfile.TemporaryDirectory() as folder:
        for kind in ("names", "numbers"):
            file = Path(folder) / f"{kind}.parquet"
            sparse_tags(kind == "names").write_parquet(file)
            print(f"lists of {kind} ({file.stat().st_size / 2**20:.0f} MiB): {loaded(file)}", flush=True)
        table, saved = data.load(str(Path(folder) / "numbers.parquet")), Path(folder) / "saved.parquet"
        start = time.perf_counter()
        data.save(table, saved)
        del table
        print(f"saved in {time.perf_counter() - start:.2f} s ({saved.stat().st_size / 2**20:.0f} MiB): {loaded(saved)}")


def study(rows: int = 400_000, width: int = 512) -> None:
    """Print the memory of a study of large features, of one loss and one epoch, against these."""
    random = np.random.default_rng(0)
    features = random.standard_normal((rows, width), np.float32)
    labels = (random.random((rows, 10)) < 0.2).astype(np.int8)
    size = features.nbytes / 1e6
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "t.npz", features=features, labels=labels)
        del features, labels
        command = [sys.executable, "-m", "rarecall", "study", "t.npz", "--losses", "bce", "--seeds", "1"]
        command += ["--epochs", "1", "--rates", "1e-2"]
        largest, together = watched(subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL))
    print(
        f"study of {rows:,} × {width} ({size:.0f} MB): peak of the largest process {largest:.0f} MB "
        f"({largest / size:.2f} of the features, at most 1.6), of all by PSS {together:.0f} MB ({together / size:.2f})"
    )


def watched(process: subprocess.Popen) -> tuple[float, float]:
    """The largest that a process or one of its children ever held, and all of them together, in MB; on Linux."""
    largest = together = 0.0
    while process.poll() is None:
        family = [process.pid]
        for one in family:
            for task in Path(f"/proc/{one}/task").glob("*/children"):
                family += map(int, _content(task).split())
        sizes = [
            (_kilobytes(f"/proc/{one}/status", "VmHWM"), _kilobytes(f"/proc/{one}/smaps_rollup", "Pss"))
            for one in family
        ]
        largest = max(largest, *(peak for peak, _ in sizes))
        together = max(together, sum(share for _, share in sizes))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the study ended with {process.returncode}")
    return largest * 1.024e-3, together * 1.024e-3


def _kilobytes(file: str, name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+)", _content(Path(file)))
    return int(found[1]) if found else 0


def _content(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # it has just ended
        return ""


if __name__ == "__main__":
    parquet()
    study()
