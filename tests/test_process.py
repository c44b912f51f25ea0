"""What the library does to the process that imports it, which is nothing, and to the files that it writes."""

import csv
import os
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from rarecall import data
from rarecall.data.csv_rows import rows_of
from rarecall.files import replacing, write_bytes

ALL_MODULES = """
import importlib, pkgutil, sys
import rarecall

def import_all():
    for module in pkgutil.walk_packages(rarecall.__path__, "rarecall."):
        if "._" not in module.name:
            importlib.import_module(module.name)
"""
THEIRS = ALL_MODULES + "import_all(); print(*(n for n in sys.modules if n.partition('.')[0] != 'rarecall'))"
OURS = (
    """
import contextlib, csv, importlib, io, locale, logging, os, signal, sys, warnings
for name in sys.stdin.read().split():
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(name)
import matplotlib, numpy, torch

def state():
    mask = os.umask(0o22)
    os.umask(mask)
    return {
        "cells of a CSV": csv.field_size_limit(),
        "umask": mask,
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "random": (torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist()),
        "float errors": numpy.geterr(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "backend": matplotlib.rcParams._get("backend"),
        "recursion": sys.getrecursionlimit(),
        "hooks": (sys.excepthook, sys.stdout, sys.stderr, sys.displayhook),
        "locale": locale.setlocale(locale.LC_ALL),
    }

before = state()
"""
    + ALL_MODULES
    + """
import_all()
after = state()
print(*(what for what in before if before[what] != after[what]), sep=", ")
"""
)


def in_a_process(code: str, given: str = "") -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_library_changes_nothing_in_the_process() -> None:
    """Beyond what the libraries that it needs do when they are imported, which come first."""
    assert in_a_process(OURS, given=in_a_process(THEIRS)) == ""


def test_reading_long_cells_leaves_the_limit_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"image,hat,note\na.jpg,1,{'x' * 300_000}\nb.jpg,0,y\n")
    before = csv.field_size_limit(1000)
    try:
        assert len(data.load(str(tmp_path / "t.csv"), ignore="note").columns["note"][0]) == 300_000
        assert csv.field_size_limit() == 1000
        with pytest.raises(csv.Error, match="field larger than field limit"):
            list(csv.reader(["x" * 2000]))
    finally:
        csv.field_size_limit(before)


def test_threads_that_read_long_cells_do_not_leave_the_limit_raised() -> None:
    before = csv.field_size_limit()
    lengths = []

    def read() -> None:
        for _ in range(50):
            rows = rows_of(csv.reader(["y" * 200_000] * 3))
            lengths.append(sum(len(row[0]) for row in rows))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [600_000] * 200
    assert csv.field_size_limit() == before


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o027])
def test_a_written_file_has_the_permissions_in_force_when_it_is_written(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "new", b"x")
        (tmp_path / "plain").write_bytes(b"x")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "plain")]
    assert modes == [0o666 & ~mask] * 2


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    write_bytes(tmp_path / "f", b"old")

    def fail() -> None:
        with replacing(tmp_path / "f") as part:
            part.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    with replacing(tmp_path / "f") as part:
        part.write_bytes(b"new")
        assert (tmp_path / "f").read_bytes() == b"old"
    assert (tmp_path / "f").read_bytes() == b"new"


def test_several_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "f") as one, replacing(tmp_path / "f") as other:
        assert one != other
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert (tmp_path / "f").read_bytes() == b"one"


def test_reading_labels_imports_no_package_for_images_or_features(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,hat\na.jpg,1\n")
    heavy = ("torch", "torchvision", "pyarrow", "scipy", "sklearn", "matplotlib")
    code = f"""
        import sys
        from rarecall import data
        data.load({str(tmp_path / "t.csv")!r})
        print(*(name for name in {heavy!r} if name in sys.modules))
    """
    assert in_a_process(code) == ""
