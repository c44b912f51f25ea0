"""`train`, `predict` and `evaluate` as a user meets them: real processes, kills, full disks, one line for a mistake."""

import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from rarecall.models import load_backbone
from tests.commands import BACKBONE, RARECALL, Run, assert_one_line, run_process
from tests.files import write_image, write_table

TRAIN = [*BACKBONE, "--loss", "two-way", "--epochs", "4", "--batch-size", "4", "--augmentation", "pedestrian"]
RESULT = ("model.safetensors", "history.csv")


def test_from_a_csv_to_predictions_in_processes(photos: Path, tmp_path: Path) -> None:
    (photos / "07.jpg").write_bytes(b"no image at all")
    (photos / "08.jpg").unlink()
    done = run_process("train", photos / "tags.csv", *TRAIN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 40 images are missing or unreadable (08.jpg" in done.stderr
    assert "07.jpg" in done.stderr
    assert "epoch 4/4  loss" in done.stderr
    assert "mAP@class" in done.stdout
    again = run_process("train", photos / "tags.csv", *TRAIN, cwd=tmp_path)
    assert "this training is finished" in again.stderr
    assert again.stdout == done.stdout

    found = run_process("predict", "rarecall-run", photos, "--out", "p.parquet", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "1 of 39 cannot be read" in found.stderr
    table = pl.read_parquet(tmp_path / "p.parquet")
    assert table.filter(pl.col("error").is_not_null())["image"].to_list() == [str(photos / "07.jpg")]
    assert table.columns == ["image", "error", "labels", "score:red", "score:bright"]

    measured = run_process("evaluate", "rarecall-run", photos / "tags.csv", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    out = tmp_path / "rarecall-run/evaluation"
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "classes.csv", "report.html"}
    figures = json.loads((tmp_path / "rarecall-run/run.json").read_text())["figures"]["test"]
    found_again = json.loads((out / "evaluation.json").read_text())["evaluation"]
    assert found_again["figures"] == pytest.approx(figures, abs=0.01)


def test_predictions_on_the_terminal(run: Run, photos: Path) -> None:
    assert run("train", photos / "tags.csv", *TRAIN, "--epochs", "1").returncode == 0
    top = run("predict", "rarecall-run", photos / "00.jpg", photos / "none.jpg", "--top", "2")
    first, second = top.stdout.splitlines()
    assert first.startswith(f"{photos / '00.jpg'}: ")
    assert first.removeprefix(str(photos)).count(" 0.") == 2
    assert second == f"{photos / 'none.jpg'}: error: no such file"
    every = run("predict", "rarecall-run", photos / "00.jpg", "--threshold", "0")
    assert all(name in every.stdout for name in ("red", "bright"))
    assert run("predict", "rarecall-run", photos / "00.jpg", "--threshold", "1").stdout.endswith(": –\n")


def test_a_study_hands_over_its_winner(run: Run, photos: Path, tmp_path: Path) -> None:
    study = ["study", photos / "tags.csv", *BACKBONE, "--losses", "bce,two-way", "--seeds", "1", "--epochs", "2"]
    assert run(*study, "--rates", "2e-3").returncode == 0
    winner = json.loads((tmp_path / "rarecall-study/summary.json").read_text())["tuned"][0]
    done = run("train", photos / "tags.csv", "--from-study", "rarecall-study", "--head-only", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "rarecall-run/run.json").read_text())
    assert (card["training"]["loss"], card["training"]["rate"]) == (winner["loss"], winner["rate"])
    assert card["architecture"]["model"] == "mobilenetv3_small_050"
    assert card["architecture"]["inputs"] == [3, 32, 32]
    done = run("train", photos / "tags.csv", "--from-study", "rarecall-study", "--loss", "focal", "--out", "x")
    assert_one_line(done, "--loss focal: --from-study takes the study's own")


def test_a_study_of_whole_networks_killed_and_continued(photos: Path, tmp_path: Path) -> None:
    command = [
        "study", "tags.csv", "--finetune", *BACKBONE, "--losses", "bce,two-way", "--seeds", "2", "--epochs", "3",
        "--rates", "1e-3", "--batch-size", "8",
    ]  # fmt: skip
    assert run_process(*command, "--out", tmp_path / "a", cwd=photos).returncode == 0
    process = subprocess.Popen(
        [*RARECALL, *command, "--out", tmp_path / "b"], cwd=photos, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and not list((tmp_path / "b").glob(".training/*/step*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    other = run_process(*command, "--epochs", "4", "--out", tmp_path / "b", cwd=photos)
    assert_one_line(other, "holds another study", "protocol.epochs")
    assert run_process(*command, "--out", tmp_path / "b", cwd=photos).returncode == 0
    assert (tmp_path / "a/results.parquet").read_bytes() == (tmp_path / "b/results.parquet").read_bytes()
    assert not (tmp_path / "b/.training").exists()
    assert "augmentation: plain" in (tmp_path / "b/report.html").read_text()
    handed = run_process("train", "tags.csv", "--from-study", tmp_path / "b", "--out", tmp_path / "c", cwd=photos)
    assert handed.returncode == 0, handed.stderr
    settings = json.loads((tmp_path / "c/run.json").read_text())["training"]
    assert (settings["rate"], settings["epochs"], settings["batch_size"]) == (1e-3, 3, 8)


# --- what is interrupted -----------------------------------------------------------------------------------


def start(photos: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a training in a process group of its own."""
    command = [*RARECALL, "train", str(photos / "tags.csv"), *TRAIN]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(process: subprocess.Popen[str], folder: Path, checkpoints: int) -> None:
    """Wait until a checkpoint of that epoch is there, or the process ends."""
    file = folder / f"rarecall-run/checkpoints/step-{6 * checkpoints:09d}.safetensors"
    while process.poll() is None and not file.exists():
        time.sleep(0.005)


def test_a_training_killed_again_and_again_ends_with_the_same_bits(photos: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    assert run_process("train", photos / "tags.csv", *TRAIN, cwd=tmp_path / "whole").returncode == 0
    for epoch in (1, 2, 3):
        process = start(photos, tmp_path / "cut")
        wait_for(process, tmp_path / "cut", epoch)
        time.sleep(chance.random() * 0.2)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    last = start(photos, tmp_path / "cut")
    _, said = last.communicate(timeout=300)
    assert last.returncode == 0, said
    for name in RESULT:
        wanted = (tmp_path / "whole/rarecall-run" / name).read_bytes()
        assert (tmp_path / "cut/rarecall-run" / name).read_bytes() == wanted
    cards = [json.loads((tmp_path / name / "rarecall-run/run.json").read_text()) for name in ("whole", "cut")]
    assert cards[0] == cards[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_keeps_the_step(photos: Path, tmp_path: Path, number: int) -> None:
    process = start(photos, tmp_path)
    wait_for(process, tmp_path, 1)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped: what is finished is kept; the same command goes on from there"
    assert "Traceback" not in said
    assert not (tmp_path / "rarecall-run/run.json").exists()
    assert_one_line(run_process("predict", "rarecall-run", photos, cwd=tmp_path), "the training is not finished")


# --- what is wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere.csv"], ["nowhere.csv: no such file or folder"]),
        (["train", "digits", "--loss", "focall"], ["did you mean 'focal'"]),
        (["train", "digits", "--loss", "focal(gama=1)"], ["did you mean 'gamma'"]),
        (["train", "digits", "--loss", "role"], ["role needs expected_positives"]),
        (["train", "digits", "--loss", "two-way(bucket_size=1.5)"], ["bucket_size=1.5: must be a number of rows"]),
        (["study", "digits", "--losses", "gr(warmup='a')"], ["warmup='a': must be a number of epochs"]),
        (["train", "digits", "--optimizer", "lamb"], ["unknown optimizer 'lamb'", "Known: adamw, adam, sgd"]),
        (["train", "digits", "--milestones", "x"], ["milestones=x: must be a valid number"]),
        (["train", "digits", "--model", "resnet18"], ["--model resnet18: digits has features"]),
        (["train", "digits", "--augmentation", "plain"], ["computed once"]),
        (["train", "digits", "--clip", "0"], ["clip=0.0"]),
        (["train", "digits", "--rate", "0"], ["rate=0.0"]),
        (["train", "digits", "--metric", "f1"], ["unknown metric 'f1'"]),
        (["train", "digits", "--device", "gpu"], ["unknown device 'gpu'"]),
        (["train", "digits", "--from-study", "none"], ["none: holds no study"]),
        (["train"], ["Missing argument 'DATA'"]),
        (["predict", "none", "a.jpg"], ["none: is no run folder"]),
        (["predict", "none", "a.jpg", "--out", "p.xlsx"], ["unknown suffix '.xlsx'", ".parquet"]),
        (["predict", "none"], ["Missing argument 'PATHS...'"]),
        (["evaluate", "none", "digits"], ["none: there is no such file", "or a run folder"]),
        (["study", "digits", "--finetune"], ["digits has features, not images"]),
        (["study", "digits", "--augmentation", "plain"], ["pass --finetune, too"]),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = run(*arguments)
    assert_one_line(done, *words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".npz"]


def test_weights_that_do_not_fit_name_the_layers(run: Run, photos: Path, tmp_path: Path) -> None:
    backbone = load_backbone("mobilenetv3_small_050", "none", (32, 32))
    state = {name: tensor.contiguous() for name, tensor in backbone.network.state_dict().items()}
    state["conv_stem.weight"] = state["conv_stem.weight"][:8].contiguous()
    save_file(state, tmp_path / "w.safetensors")
    done = run("train", photos / "tags.csv", "--model", "mobilenetv3_small_050", "--weights", "w.safetensors")
    assert_one_line(done, "w.safetensors: does not fit mobilenetv3_small_050: 1 layers differ: conv_stem.weight")


def test_images_of_which_none_can_be_read(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("train", photos / "tags.csv", *TRAIN, "--epochs", "1").returncode == 0
    (tmp_path / "p.csv").write_text("old")
    done = run("predict", "rarecall-run", "x.jpg", "y.jpg", "--out", "p.csv")
    assert_one_line(done, "none of the 2 images can be read (no such file): check the paths")
    assert (tmp_path / "p.csv").read_text() == "old"
    assert_one_line(run("predict", "rarecall-run", "*.webp"), "*.webp: no file fits this pattern")
    assert_one_line(run("predict", "rarecall-run", photos / "tags.csv", "--out", photos / "tags.csv"), "is one of the")
    assert_one_line(run("predict", "rarecall-run", photos, "--out", "p.txt"), "unknown suffix '.txt'")


def test_a_loss_that_is_not_finite_is_one_line(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as arrays:
        content = dict(arrays)
    content["features"][:] = 3e38
    np.savez(tmp_path / "t.npz", **content)
    done = run("train", "t.npz", "--loss", "bce", "--hidden", "0")
    assert_one_line(done, "at step 1 (epoch 1)", "not-finite-items.txt", "try a lower --rate")
    assert len((tmp_path / "rarecall-run/checkpoints/not-finite-items.txt").read_text().splitlines()) == 64
    assert load_file(tmp_path / "rarecall-run/checkpoints/not-finite.safetensors").keys() == {
        "network.head.0.weight", "network.head.0.bias",
    }  # fmt: skip


def test_a_full_disk_loses_nothing(photos: Path, tmp_path: Path) -> None:
    full = run_process(
        "train", photos / "tags.csv", *TRAIN, "--no-tensorboard", cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert_one_line(_without_epochs(full), "no space left to write", "run the same command again")
    assert not list((tmp_path / "rarecall-run").rglob("*.safetensors"))
    assert not list((tmp_path / "rarecall-run").rglob("*.part"))
    assert run_process("train", photos / "tags.csv", *TRAIN, cwd=tmp_path).returncode == 0


def test_too_little_memory_says_which_batch_size_to_try(photos: Path, tmp_path: Path) -> None:
    limit = 7 * 2**30  # of addresses: PyTorch's libraries take several of them
    done = run_process(
        "train", photos / "tags.csv", "--model", "mobilenetv3_small_050", "--weights", "none", "--image-size", "4000",
        "--batch-size", "24", "--workers", "0", cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert_one_line(_without_epochs(done), "out of memory with batches of 24: try --batch-size 12")


def _without_epochs(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    done.stderr = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("epoch "))
    return done


def test_an_evaluation_keeps_what_it_did_not_write(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("train", photos / "tags.csv", *TRAIN, "--epochs", "1").returncode == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/classes.csv").write_text("mine")
    arguments = ["evaluate", "rarecall-run", photos / "tags.csv"]
    assert_one_line(run(*arguments, "--out", "mine"), "mine: is not empty and holds no evaluation")
    assert (tmp_path / "mine/classes.csv").read_text() == "mine"
    assert run(*arguments).returncode == 0
    assert run(*arguments).returncode == 0
    assert_one_line(run(*arguments, "--part", "all"), "holds the evaluation of", "part test: pass another --out")
    done = run(*arguments, "--part", "all", "--out", "all")
    assert "warning: 32 of 40 items have the names of items that the model was trained" in done.stderr


def test_the_same_data_by_another_path_go_on(run: Run, photos: Path) -> None:
    assert run("train", photos / "tags.csv", *TRAIN, "--epochs", "1").returncode == 0
    (photos.parent / "again").symlink_to(photos)
    done = run("train", "again/tags.csv", *TRAIN, "--epochs", "1")
    assert "this training is finished" in done.stderr


def test_weights_without_their_card_are_a_warning(run: Run, photos: Path, tmp_path: Path) -> None:
    backbone = load_backbone("mobilenetv3_small_050", "none", (32, 32))
    state = {name: tensor.contiguous() for name, tensor in backbone.network.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    options = ["--model", "mobilenetv3_small_050", "--weights", "w.safetensors", "--image-size", "32", "--epochs", "1"]
    done = run("train", photos / "tags.csv", *options)
    assert done.returncode == 0, done.stderr
    assert "warning: no w.json beside the weights" in done.stderr
    assert any("no w.json" in note for note in json.loads((tmp_path / "rarecall-run/run.json").read_text())["notes"])


def test_data_of_other_classes(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("train", photos / "tags.csv", *TRAIN, "--epochs", "1").returncode == 0
    write_image(tmp_path / "x.jpg", 1, 1)
    (tmp_path / "other.csv").write_text("image,red,green\nx.jpg,1,0\n")
    assert_one_line(run("evaluate", "rarecall-run", "other.csv"), "other classes than the model's", "lacks bright")
