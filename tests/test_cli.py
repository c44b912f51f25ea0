"""The command line as a user meets it: real processes, exit codes, one line for every mistake, kills."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.commands import BACKBONE, RARECALL, Run, assert_one_line, run_process
from tests.files import write_table

QUICK = ["--losses", "bce,two-way", "--seeds", "2", "--hidden", "8", "--epochs", "3"]


# --- what works --------------------------------------------------------------------------------------------


def test_help_names_the_commands_and_each_shows_an_example(run: Run) -> None:
    top = run("--help")
    assert top.returncode == 0
    for command in ("audit", "study", "train", "predict", "evaluate", "report"):
        assert command in top.stdout
        assert "Example:" in run(command, "--help").stdout


def test_help_does_not_load_pytorch(tmp_path: Path) -> None:
    code = "import sys, rarecall, rarecall.cli; sys.exit('torch' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_a_study_of_images_from_csv_to_report(photos: Path, tmp_path: Path) -> None:
    before = sorted(photos.iterdir())
    (photos / "07.jpg").write_bytes(b"no image at all")
    done = run_process("study", photos / "tags.csv", *BACKBONE, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 40 images are missing or unreadable (07.jpg" in done.stderr
    out = tmp_path / "rarecall-study"
    assert {path.name for path in out.iterdir()} == {
        "study.json",
        "runs",
        "results.parquet",
        "parts.parquet",
        "summary.json",
        "report.html",
    }
    assert "two-way" in done.stdout
    assert "2 seeds are few: the Wilcoxon signed-rank test cannot go below p = 0.5" in " ".join(done.stdout.split())
    assert sorted(photos.iterdir()) == before
    assert pl.read_parquet(out / "results.parquet")["class"].unique().sort().to_list() == ["bright", "red"]


def test_an_audit_prints_and_saves(run: Run, photos: Path, tmp_path: Path) -> None:
    done = run("audit", photos / "tags.csv")
    assert done.returncode == 0, done.stderr
    assert "40 items" in done.stdout
    assert {path.name for path in (tmp_path / "rarecall-audit").iterdir()} == {
        "audit.html",
        "audit.json",
        "audit.png",
    }


def test_a_report_is_written_anew(run: Run, table_file: Path, tmp_path: Path) -> None:
    assert run("study", table_file, *QUICK, "--out", "s").returncode == 0
    page = (tmp_path / "s/report.html").read_text()
    (tmp_path / "s/report.html").unlink()
    assert run("report", "s").returncode == 0
    assert (tmp_path / "s/report.html").read_text() == page


# --- what is wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study", "nowhere.csv"], ["nowhere.csv: no such file or folder"]),
        (["study", "csvv:x"], ["unknown format 'csvv': did you mean 'csv'"]),
        (["study", "--losses", "two-wya"], ["unknown loss 'two-wya': did you mean 'two-way'"]),
        (["study", "--losses", "focal(gama=1)"], ["focal: unknown option 'gama': did you mean 'gamma'"]),
        (["study", "--losses", "focal(gamma=-1)"], ["gamma=-1: must be at least 0"]),
        (["study", "--image-size", "12by12"], ["--image-size 12by12: digits has features, not images"]),
        (["study", "--rates", "fast"], ["rates=fast: must be numbers separated by commas"]),
        (["study", "--rates", "0"], ["rates=0.0: must be greater than 0"]),
        (["study", "--seeds", "0"], ["--seeds"]),
        (["study", "--sedes", "3"], ["--sedes"]),
        (["study", "digits", "--blank", "absent"], ["digits: unknown option 'blank'"]),
        (
            ["study", "digits", "--weights", "w.safetensors"],
            ["--weights w.safetensors: digits has features, not images"],
        ),
        (["study", ""], ["DATA is empty"]),
        (["study", "--losses", ""], ["no loss in ''"]),
        (["stduy"], ["No such command 'stduy'"]),
        (["report", "."], ["holds no study"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    run: Run, arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    assert_one_line(run(*arguments), *words)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_and_missing_weights(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ["study", photos / "tags.csv", *QUICK]
    assert_one_line(run(*arguments, "--model", "resnet81", "--weights", "none"), "did you mean 'resnet18'")
    assert_one_line(run(*arguments, "--weights", "w.safetensors"), "w.safetensors: no such weights file")
    assert not (tmp_path / "rarecall-study").exists()


def test_strict_refuses_an_unreadable_image(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "07.jpg").unlink()
    done = run("study", photos / "tags.csv", *BACKBONE, *QUICK, "--strict")
    assert_one_line(done, "1 of 40 images", "07.jpg", "no such file")
    assert not (tmp_path / "rarecall-study").exists()


def test_fewer_rows_than_classes(run: Run, tmp_path: Path) -> None:
    random_labels = np.random.default_rng(0).integers(0, 2, (20, 30))
    np.savez(tmp_path / "t.npz", features=np.ones((20, 2)), labels=random_labels)
    assert_one_line(run("study", "t.npz", *QUICK), "20 rows for 30 classes")


def test_a_class_without_positives_is_a_warning(run: Run, table_file: Path) -> None:
    with np.load(table_file) as arrays:
        content = dict(arrays)
    content["labels"][:, 2] = 0
    np.savez(table_file, **content)
    done = run("study", table_file, *QUICK)
    assert done.returncode == 0
    assert "warning: classes without a training positive, which nothing can learn: c" in done.stderr


def test_a_folder_that_holds_another_study(run: Run, table_file: Path, tmp_path: Path) -> None:
    assert run("study", table_file, *QUICK).returncode == 0
    kept = (tmp_path / "rarecall-study/results.parquet").read_bytes()
    done = run("study", table_file, *QUICK, "--dropout", "0.3")
    assert_one_line(done, "rarecall-study: holds another study", "protocol.dropout", "pass another --out")
    assert (tmp_path / "rarecall-study/results.parquet").read_bytes() == kept


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_disk_that_fills_up_loses_nothing(table_file: Path, tmp_path: Path, workers: str) -> None:
    write_table(table_file, rows=3000)
    arguments = ["study", table_file, *QUICK, "--workers", workers]
    # No file may grow beyond 20 kB: with 3,000 rows, the first run's file is larger.
    full = run_process(
        *arguments, cwd=tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
    )
    assert_one_line(full, "no space left to write", "run the same command again")
    out = tmp_path / "rarecall-study"
    assert not [
        path for path in out.rglob("*") if path.suffix in (".part", ".safetensors") or path.name == "results.parquet"
    ]
    assert run_process(*arguments, cwd=tmp_path).returncode == 0


def test_a_folder_that_may_not_be_written(run: Run, table_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_one_line(run("study", table_file, *QUICK, "--out", "file/s"), "file")


# --- what is interrupted -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_table(folder / "t.npz", rows=600)
    assert run_process("study", "t.npz", *QUICK, "--epochs", "40", cwd=folder).returncode == 0
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the same study in a process group of its own."""
    command = [*RARECALL, "study", "t.npz", *QUICK, "--epochs", "40"]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finished_runs(folder: Path) -> set[Path]:
    """The run files that are in place."""
    return set((folder / "rarecall-study" / "runs").glob("*.safetensors"))


def wait_for_runs(process: subprocess.Popen[str], folder: Path, runs: int) -> None:
    """Wait until so many runs are on disk, or the process ends."""
    while process.poll() is None and len(finished_runs(folder)) < runs:
        time.sleep(0.01)


def test_a_study_killed_again_and_again_ends_with_the_same_results(undisturbed: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "t.npz", rows=600)
    chance = random.Random(4)
    kept: set[Path] = set()
    for _ in range(3):
        process = start(tmp_path)
        wait_for_runs(process, tmp_path, len(kept) + 1)
        time.sleep(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)  # the parent alone: its workers must follow by themselves
        process.communicate()
        assert kept <= finished_runs(tmp_path)
        kept = finished_runs(tmp_path)
    last = start(tmp_path)
    last.communicate(timeout=300)
    assert last.returncode == 0
    for name in ("results.parquet", "study.json"):
        wanted = (undisturbed / "rarecall-study" / name).read_bytes()
        assert (tmp_path / "rarecall-study" / name).read_bytes() == wanted
    assert {path.name for path in finished_runs(tmp_path)} == {path.name for path in finished_runs(undisturbed)}
    left = [path.name for path in (tmp_path / "rarecall-study").rglob(".*")]
    assert not left


def test_control_c_stops_at_once_and_says_what_is_kept(tmp_path: Path) -> None:
    write_table(tmp_path / "t.npz", rows=600)
    process = start(tmp_path)
    wait_for_runs(process, tmp_path, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped: what is finished is kept; the same command goes on from there"
    assert "Traceback" not in said
    assert finished_runs(tmp_path)


def test_a_second_study_finds_the_features_in_the_cache(run: Run, photos: Path) -> None:
    assert run("study", photos / "tags.csv", *BACKBONE, *QUICK, "--seeds", "1").returncode == 0
    (cached,) = (Path(os.environ["RARECALL_CACHE"]) / "features").iterdir()
    before = cached.stat().st_mtime_ns
    done = run("study", photos / "tags.csv", *BACKBONE, *QUICK, "--seeds", "1", "--out", "again")
    assert done.returncode == 0
    assert cached.stat().st_mtime_ns == before
