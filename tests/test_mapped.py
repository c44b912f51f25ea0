"""Large features in a file of our own: the same numbers and results, in little memory, and nothing left behind."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZipFile

import numpy as np
import polars as pl
import pytest
import torch

from rarecall import api, data
from rarecall.data import mapped
from rarecall.data.formats.feature_table import read_features
from rarecall.errors import DataError
from rarecall.listener import Listener
from tests.conftest import write_table

KINDS = (np.float32, np.float64, np.float16, np.int16, np.uint8, ">f4")
ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array counts as large, and a block is a few rows."""
    monkeypatch.setattr(mapped, "LARGE", 1)
    monkeypatch.setattr(mapped, "AT_ONCE", 64)
    monkeypatch.setattr(mapped, "NEAR", 64)


def numbers(rows: int = 37, width: int = 5) -> np.ndarray:
    """Small whole numbers, which every type holds."""
    return np.random.default_rng(0).integers(0, 100, (rows, width))


def labels(rows: int = 37) -> np.ndarray:
    """Two classes."""
    return np.random.default_rng(1).integers(-1, 2, (rows, 2)).astype(np.int8)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_of_any_kind_holds_the_same_numbers(tmp_path: Path, kind: Any, order: Any, save: Any) -> None:
    for rows in (1, 2, 3, 4, 37):  # with 5 numbers each, 3 rows of 32 bits are a block
        file = tmp_path / "t.npz"
        save(file, features=np.asarray(numbers(rows), kind, order=order), labels=labels(rows))
        features = data.load(str(file)).features
        assert features is not None
        assert mapped.is_mapped(features)
        assert features.dtype == np.float32
        assert features.flags.c_contiguous
        np.testing.assert_array_equal(features, numbers(rows))
        np.testing.assert_array_equal(read_features(file)[1], numbers(rows))


@pytest.mark.usefixtures("small")
def test_parquet_holds_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rarecall.data.formats.feature_table.VECTORS", 10)
    frame = pl.DataFrame({"embedding": numbers().astype(np.float64).tolist(), "hat": [1, 0] * 18 + [1]})
    frame.write_parquet(tmp_path / "t.parquet")
    features = data.load(str(tmp_path / "t.parquet")).features
    assert features is not None
    assert mapped.is_mapped(features)
    np.testing.assert_array_equal(features, numbers())


def test_few_features_stay_in_memory(tmp_path: Path) -> None:
    write_table(tmp_path / "t.npz")
    features = data.load(str(tmp_path / "t.npz")).features
    assert features is not None
    assert not mapped.is_mapped(features)


@pytest.mark.usefixtures("small")
def test_rows_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    array = mapped.filled((37, 5), [numbers()[:20], numbers()[20:]])
    reader = mapped.Reader(array)
    for rows in ([36, 0, 7, 7], [3], [], list(range(37))):
        at = np.array(rows, np.int64)
        np.testing.assert_array_equal(reader.rows(at), numbers()[at])
    np.testing.assert_array_equal(mapped.Reader(array[2:]).rows(np.array([30, 0])), numbers()[2:][[30, 0]])
    np.testing.assert_array_equal(mapped.Reader(numbers()).rows(np.array([30, 0])), numbers()[[30, 0]])
    np.testing.assert_array_equal(np.concatenate(list(mapped.in_blocks(array))), numbers())
    monkeypatch.delattr(os, "preadv", raising=False)
    np.testing.assert_array_equal(mapped.Reader(array).rows(np.array([30, 0])), numbers()[[30, 0]])


@pytest.mark.usefixtures("small")
def test_what_is_written_to_features_is_not_forgotten() -> None:
    array = mapped.filled((37, 5), [numbers()])
    array[30] = 7
    torch.from_numpy(array)[31] = 8
    mapped.forget(array)
    assert array[30].tolist() == mapped.Reader(array).rows(np.array([30, 0]))[0].tolist() == [7.0] * 5
    assert array[31].tolist() == [8.0] * 5


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("number", [19, 38])
def test_too_few_or_too_many_rows_are_noticed(number: int) -> None:
    with pytest.raises(ValueError, match="for"):
        mapped.filled((37, 5), [numbers(number)])


@ON_LINUX
def test_pages_are_forgotten() -> None:
    array = mapped.filled((1 << 15, 1 << 10), (np.ones((1 << 10, 1 << 10), np.float32) for _ in range(32)))
    before = resident()
    assert array.sum() == array.size
    assert resident() - before > 100
    mapped.forget(array)
    assert resident() - before < 30
    mapped.Reader(array).rows(np.random.default_rng(0).permutation(len(array))[:4096])
    assert sum(float(block.sum()) for block in mapped.in_blocks(array)) == array.size
    assert resident() - before < 60


def resident() -> float:
    """MiB of files that this process has in memory."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssFile"))
    return int(line.split()[1]) / 1024


# --- what cannot be read -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_not_finite_is_named(tmp_path: Path, order: Any) -> None:
    features = numbers().astype(np.float64, order=order)
    features[23, 4] = 1e300
    np.savez(tmp_path / "t.npz", features=features, labels=labels())
    with pytest.raises(DataError, match=r"t\.npz: feature \[23, 4\] is 1e\+300: fill it"):
        data.load(str(tmp_path / "t.npz"))
    frame = pl.DataFrame({"embedding": features.tolist(), "hat": [1, 0] * 18 + [1]})
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: feature \[23, 4\] is 1e\+300: fill it"):
        data.load(str(tmp_path / "t.parquet"))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_member_is_one_line(tmp_path: Path, save: Any) -> None:
    file = tmp_path / "t.npz"
    save(file, features=np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32), labels=labels(200))
    with ZipFile(file) as archive:
        place = archive.getinfo("features.npy").header_offset + 2000
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.npz: not readable as \.npz: the file is damaged"):
        data.load(str(file))


@pytest.mark.usefixtures("small")
def test_a_member_that_claims_more_than_it_holds_is_damaged(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "t.npz", "w") as archive, archive.open("features.npy", "w") as member:
        header = {"shape": (1 << 40, 5), "fortran_order": False, "descr": "<f4"}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(DataError, match="the file is damaged"):
        data.load(str(tmp_path / "t.npz"))


@pytest.fixture(params=["npz", "parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A feature table in both kinds of file."""
    file = tmp_path / f"t.{request.param}"
    if request.param == "npz":
        np.savez(file, features=numbers().astype(np.float32), labels=labels())
    else:
        pl.DataFrame({"embedding": numbers().tolist(), "hat": [1, 0] * 18 + [1]}).write_parquet(file)
    return file


@pytest.mark.usefixtures("small")
def test_a_temporary_folder_without_room_is_one_line(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(DataError, match=r"features do not fit into the temporary folder: 0 MiB are free: .* TMPDIR"):
        data.load(str(table))


@pytest.mark.usefixtures("small")
def test_a_disk_that_fills_up_is_one_line(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def tell(self) -> int:
            return 0

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(DataError, match="do not fit into the temporary folder: No space left on device"):
        data.load(str(table))


# --- studies -----------------------------------------------------------------------------------------------


def results(file: Path, out: Path, workers: int, losses: str = "bce,two-way") -> bytes:
    """The bytes of a small study's results."""
    api.study(str(file), losses, 2, out, epochs=2, hidden=8, rates=[1e-2, 1e-3], workers=workers, listener=Listener())
    return (out / "results.parquet").read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_has_the_same_bytes(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "t.npz")
    wanted = results(tmp_path / "t.npz", tmp_path / "memory", workers)
    for name, value in {"LARGE": 1, "AT_ONCE": 64, "NEAR": 64}.items():
        monkeypatch.setattr(mapped, name, value)
    assert results(tmp_path / "t.npz", tmp_path / "mapped", workers) == wanted
    assert not (tmp_path / "mapped" / ".data").exists()
    if workers == 2:
        monkeypatch.setattr(mapped, "can_lend", lambda _: False)
        assert results(tmp_path / "t.npz", tmp_path / "saved", workers) == wanted


KILLED = """
import os, signal, sys
from rarecall import api, data
from rarecall.data import mapped
from rarecall.listener import Listener

class Ends(Listener):
    def progress(self, what, done, total):
        if done == 1:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))

if __name__ == "__main__":
    mapped.LARGE = 1
    api.study("t.npz", "bce", 2, "s", epochs=2, hidden=8, workers=int(sys.argv[1]), listener=Ends())
"""


@ON_LINUX
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_a_study_that_is_ended_leaves_no_file_behind(tmp_path: Path, workers: str, signal: str) -> None:
    write_table(tmp_path / "t.npz")
    (tmp_path / "temporary").mkdir()
    (tmp_path / "killed.py").write_text(KILLED)
    done = subprocess.run(
        [sys.executable, "killed.py", workers, signal],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert not [one for one in (tmp_path / "temporary").rglob("*") if one.is_file() and one.stat().st_size > 0]
