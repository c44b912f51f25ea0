"""Small real files for the tests: images, tables and data sets written in their official layouts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rarecall.cli import main
from tests.commands import Run
from tests.files import write_photos, write_table
from tests.published import LISTS_2007, OBJECTS, write_coco, write_voc

if os.environ.get("PYTEST_XDIST_WORKER"):
    torch.set_num_threads(1)  # one process for each core already, and so for the processes that tests start
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARECALL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data_folder() -> Path:
    """The real data for development; tests that use it are skipped where it is not."""
    return _from_environment("RARECALL_DATA")


@pytest.fixture
def weights_folder() -> Path:
    """The pretrained weights for development."""
    return _from_environment("RARECALL_WEIGHTS")


def _from_environment(name: str) -> Path:
    if not os.environ.get(name):
        pytest.skip(f"{name} is not set")
    return Path(os.environ[name])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with 40 JPEGs and tags.csv: images of red are `red`, bright ones `bright`."""
    return write_photos(tmp_path / "photos").parent


@pytest.fixture
def voc2007(tmp_path: Path) -> Path:
    """VOCdevkit/VOC2007 with four images."""
    return write_voc(tmp_path / "d/VOCdevkit/VOC2007", OBJECTS, LISTS_2007)


@pytest.fixture
def coco2017(tmp_path: Path) -> Path:
    """COCO 2017 with three training images and one for validation."""
    return write_coco(tmp_path / "coco")


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    """A small feature table as .npz, 3 classes that two features decide, some labels unknown."""
    path = tmp_path / "table.npz"
    write_table(path)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command line in this process and in an empty folder, with one worker."""

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in arguments]
        if words[0] in ("study", "train") and "--help" not in words:
            words += ["--workers", "1"]
        monkeypatch.setattr(sys, "argv", ["rarecall", *words])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, int(left.value.code or 0), said.out, said.err)

    return call
