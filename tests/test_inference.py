"""A run folder predicts anywhere: the same scores for every kind of input, for any number, and for odd ones."""

import base64
import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import rarecall
from rarecall import data, metrics
from rarecall.errors import DataError, ModelError, OptionError, ShapeError
from rarecall.inference import Predictor, evaluate, outputs
from rarecall.inference.inputs import image_paths
from rarecall.inference.scoring import AHEAD
from rarecall.listener import Listener
from rarecall.models import load_backbone
from rarecall.preparation import divide
from rarecall.reports import run_page
from rarecall.training import recipe_for, train
from tests.files import write_photos, write_table
from tests.listening import Ear
from tests.test_images import READABLE, UNREADABLE

SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photos of two classes in two folders, and tags.csv."""
    folder = tmp_path_factory.mktemp("photos")
    return write_photos(folder, lambda number: f"{'ab'[number // 20]}/{number:02d}.jpg").parent


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run folder of the photos."""
    table = data.load(str(photos / "tags.csv"))
    out = tmp_path_factory.mktemp("runs") / "run"
    backbone = load_backbone("mobilenetv3_small_050", "none", (32, 32))
    train(
        recipe_for(table, **SETTINGS).training("two-way"), divide(table), out, Listener(), backbone=backbone, workers=0
    )
    return out


@pytest.fixture(scope="module")
def head_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose head alone was trained, on features of the frozen backbone."""
    table = data.load(str(photos / "tags.csv"))
    out = tmp_path_factory.mktemp("runs") / "head"
    backbone = load_backbone("mobilenetv3_small_050", "none", (32, 32))
    train(
        recipe_for(table, head_only=True, **SETTINGS).training("focal"),
        divide(table),
        out,
        Listener(),
        backbone=backbone,
    )
    return out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run folder to damage."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


# --- the run folder ----------------------------------------------------------------------------------------


def test_the_folder_holds_what_a_prediction_needs_and_no_pickle(run: Path) -> None:
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("tensorboard/events.out.tfevents")}
    checkpoints = {f"checkpoints/step-{step:09d}.safetensors" for step in (3, 6)}
    assert len(events) == 1
    assert names - events == checkpoints | {
        "run.json", "model.safetensors", "training.json", "parts.parquet", "history.csv",
    }  # fmt: skip
    card = json.loads((run / "run.json").read_text())
    assert [entry["name"] for entry in card["classes"]] == ["red", "bright"]
    assert card["architecture"]["inputs"] == [3, 32, 32]
    assert card["figures"].keys() == {"val", "test"}
    assert card["data"]["items"] == {"train": 26, "val": 6, "test": 8}
    assert card["versions"].keys() >= {"torch", "timm"}
    assert len(pl.read_csv(run / "history.csv")) == 2


def test_it_predicts_elsewhere_without_the_data(run: Path, copy: Path, photos: Path) -> None:
    for extra in ("checkpoints", "tensorboard", "history.csv", "training.json"):
        target = copy / extra
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    images = sorted(photos.glob("a/*.jpg"))
    first, second = (rarecall.load(folder).predict(images) for folder in (run, copy))
    assert np.array_equal(first.scores, second.scores)
    assert np.array_equal(first.decided, second.decided)
    assert first.labels == second.labels


def test_decisions_and_scores_are_the_networks(run: Path, photos: Path) -> None:
    predictor = Predictor.load(run)
    images = sorted(photos.glob("*/*.jpg"))
    found = predictor.predict(images)
    state = load_file(run / "model.safetensors")
    network = predictor.card.architecture.build().eval()
    network.load_state_dict(state)
    from rarecall.images.decoding import read_image

    with torch.inference_mode():
        logits = network(torch.stack([read_image(path, (32, 32)) for path in images]))  # type: ignore[misc]
    torch.testing.assert_close(torch.from_numpy(found.scores), torch.sigmoid(logits), atol=1e-5, rtol=1e-5)
    clear = ((logits - predictor.thresholds).abs() > 1e-5).numpy()  # another batch size may move the last bits
    assert clear.mean() > 0.9
    assert np.array_equal(found.decided[clear], (logits >= predictor.thresholds).numpy()[clear])
    half = predictor.predict(images, threshold=0.5)
    assert np.array_equal(half.decided, half.scores >= 0.5)


def test_a_head_on_a_frozen_backbone_is_one_network_in_the_end(head_run: Path, photos: Path) -> None:
    predictor = Predictor.load(head_run)
    assert predictor.card.architecture.model == "mobilenetv3_small_050"
    assert predictor.card.training.head_only
    again = evaluate(predictor, data.load(str(photos / "tags.csv")))
    assert again.summary["figures"] == predictor.card.figures["test"]


@pytest.mark.parametrize("head_only", [True, False])
def test_own_data_are_evaluated_on_the_training_s_own_test_part(photos: Path, tmp_path: Path, head_only: bool) -> None:
    """Also where images cannot be read, or can be read again: else training images would be measured."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    kept = (folder / "a/05.jpg").read_bytes()
    (folder / "a/05.jpg").unlink()
    (folder / "a/06.jpg").write_bytes(b"no image")
    table = data.load(str(folder / "tags.csv"))
    backbone = load_backbone("mobilenetv3_small_050", "none", (32, 32))
    settings = recipe_for(table, head_only=head_only, **SETTINGS).training("focal")
    train(settings, divide(table), tmp_path / "run", Listener(), backbone=backbone, workers=0)
    wanted = [table.items[row] for row in data.complete_split(table)[0].part("test")]
    predictor = Predictor.load(tmp_path / "run")
    (folder / "a/05.jpg").write_bytes(kept)
    found = evaluate(predictor, table)
    assert set(found.table.items) == set(wanted) - {"a/06.jpg"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "run.json").unlink(), "the training is not finished"),
        (lambda run: [(run / name).unlink() for name in ("run.json", "training.json")], "is no run folder"),
        (lambda run: (run / "run.json").write_text("{"), "is damaged"),
        (lambda run: (run / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda run: (run / "model.safetensors").write_bytes(b"x" * 50), "model.safetensors: is damaged"),
        (lambda run: _change(run, format=99, rarecall="9.9"), "was written by rarecall 9.9, later than this"),
        (
            lambda run: _change_architecture(run, "mobilenetv3_small_050", inputs=[9, 32, 32]),
            "is damaged at architecture",
        ),
        (lambda run: _change(run, classes=[]), "0 class names for 2 logits"),
        (lambda run: _change(run, epoch="many"), "is damaged at epoch"),
        (lambda run: _change_architecture(run, "mobilenetv3_small_100"), r"does not fit .* layers differ: backbone"),
        (lambda run: _change_architecture(run, "hf-hub:someone/model"), "unknown model"),
        (lambda run: _options(run, checkpoint_path="evil.pth"), "may not say what to load: remove checkpoint_path"),
        (lambda run: _flip(run / "model.safetensors"), "is not the file that run.json speaks of"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(copy: Path, damage: Any, words: str) -> None:
    damage(copy)
    with pytest.raises(ModelError, match=words) as raised:
        Predictor.load(copy)
    assert "\n" not in str(raised.value)


def _change(run: Path, **values: Any) -> None:
    card = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(card | values))


def _change_architecture(run: Path, model: str, **values: Any) -> None:
    card = json.loads((run / "run.json").read_text())
    _change(run, architecture=card["architecture"] | {"model": model, **values})


def _options(run: Path, **options: Any) -> None:
    card = json.loads((run / "run.json").read_text())
    _change(run, architecture=card["architecture"] | {"model_options": options})


def _flip(file: Path) -> None:
    state = load_file(file)
    state["head.0.bias"][0] += 1
    save_file(state, file)


# --- predictions -------------------------------------------------------------------------------------------


def test_every_kind_of_input_gives_the_same_scores(run: Path, photos: Path) -> None:
    predictor = Predictor.load(run)
    path = photos / "a/03.jpg"
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    pixels = np.asarray(image).copy()
    tensor = torch.from_numpy(pixels)
    wanted = predictor.predict(path)
    assert wanted.items == [str(path)]
    for given in (str(path), path.read_bytes(), image, pixels, tensor, tensor.permute(2, 0, 1), [path], [pixels]):
        found = predictor.predict(given)
        assert len(found) == 1
        assert np.array_equal(found.scores, wanted.scores)
    many = predictor.predict(np.stack([pixels] * 3))
    assert np.allclose(many.scores, wanted.scores, atol=1e-6)
    assert many.items == ["image 0", "image 1", "image 2"]
    none = predictor.predict([])
    assert none.scores.shape == (0, 2)
    assert none.labels == []


def test_options_out_of_range_are_refused(run: Path, photos: Path) -> None:
    predictor, image = Predictor.load(run), photos / "a/00.jpg"
    with pytest.raises(OptionError, match="a score lies between 0 and 1"):
        predictor.predict(image, threshold=2)
    with pytest.raises(OptionError, match="batch_size=0"):
        next(predictor.stream([image], batch_size=0))
    with pytest.raises(OptionError, match="top=-1"):
        predictor.predict(image).top(-1)
    assert [part.items for part in predictor.stream(str(image))] == [[str(image)]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [3, None, np.zeros((4, 4, 3), np.float32), np.zeros((5, 4, 7), np.uint8), b"no image", Image.new("F", (4, 4))],
)
def test_what_is_no_image_has_an_error_and_no_score(run: Path, wrong: Any) -> None:
    found = Predictor.load(run).predict([wrong])
    assert found.errors[0]
    assert np.isnan(found.scores).all()
    assert not found.decided.any()
    assert found.labels == found.top(1) == [[]]


def test_odd_images_are_rows_among_the_others(run: Path, tmp_path: Path) -> None:
    for name, (make, *_) in {**READABLE, **UNREADABLE}.items():
        make(tmp_path / name)
    names = [*READABLE, *UNREADABLE]
    found = Predictor.load(run).predict([tmp_path / name for name in names])
    assert {name for name, error in zip(names, found.errors, strict=True) if error} == set(UNREADABLE)
    readable = np.array([name in READABLE for name in names])
    assert np.isfinite(found.scores[readable]).all()
    assert np.isnan(found.scores[~readable]).all()


def test_a_stream_may_be_endless(run: Path, photos: Path) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield photos / "a/00.jpg"

    stream = Predictor.load(run).stream(endless(), batch_size=4)
    for _ in range(5):
        assert len(next(stream)) == 4
    assert taken <= (5 + AHEAD) * 4
    stream.close()  # type: ignore[attr-defined]


def test_top_orders_and_labels_are_the_decided(run: Path, photos: Path) -> None:
    found = Predictor.load(run).predict(sorted(photos.glob("*/*.jpg")))
    for row, pairs in enumerate(found.top(2)):
        assert [score for _, score in pairs] == sorted(found.scores[row].tolist(), reverse=True)
        assert set(found.labels[row]) == {
            name for name, yes in zip(found.names, found.decided[row], strict=True) if yes
        }
    assert found.top(9) == found.top(2)


def test_a_lazy_image_may_stand_many_times(run: Path, photos: Path) -> None:
    with Image.open(photos / "a/03.jpg") as lazy:
        found = Predictor.load(run).predict([lazy] * 40)
    assert found.errors == [None] * 40
    assert np.ptp(found.scores, axis=0).max() < 1e-6


def test_a_stream_leaves_warnings_alone(run: Path, photos: Path) -> None:
    before = list(warnings.filters)
    stream = Predictor.load(run).stream([photos / "a/00.jpg"] * 9, batch_size=2)
    next(stream)
    assert warnings.filters == before
    stream.close()  # type: ignore[attr-defined]


def test_features_have_their_shape(tmp_path: Path, table_file: Path) -> None:
    table = data.load(str(table_file))
    train(recipe_for(table, epochs=2).training("focal"), divide(table), tmp_path / "run", Listener(), tensorboard=False)
    predictor = Predictor.load(tmp_path / "run")
    assert table.features is not None
    found = predictor.predict(table.features)
    assert found.scores.shape == (len(table), 3)
    with pytest.raises(ShapeError, match=r"this model takes \(N, 4\)"):
        predictor.predict(np.zeros((2, 5)))
    with pytest.raises(ShapeError, match="must be an array of numbers"):
        predictor.predict(["a.npz"])
    with pytest.raises(OptionError, match="takes features, not images"):
        next(predictor.stream(["a.jpg"]))


# --- paths -------------------------------------------------------------------------------------------------


def test_words_become_images_in_order(photos: Path, tmp_path: Path) -> None:
    images = sorted(photos.glob("*/*.jpg"))
    (tmp_path / "list.csv").write_text("Image;note\na/01.jpg;x\nb/30.jpg;y\n;blank\n")
    assert list(image_paths([str(photos)])) == images
    assert list(image_paths([str(photos / "b"), str(photos / "a/00.jpg")])) == [*images[20:], images[0]]
    assert list(image_paths([str(photos / "*/*5.jpg")])) == [path for path in images if path.stem.endswith("5")]
    assert list(image_paths([str(tmp_path / "list.csv")], images=photos)) == [photos / "a/01.jpg", photos / "b/30.jpg"]
    assert list(image_paths(["not there.jpg"])) == [Path("not there.jpg")]
    (tmp_path / "list.txt").write_text("a/01.jpg\n\n b/30.jpg\n")
    assert list(image_paths([str(tmp_path / "list.txt")], images=photos)) == [photos / "a/01.jpg", photos / "b/30.jpg"]
    (tmp_path / "folder/.hidden").mkdir(parents=True)
    for name in (".hidden/a.jpg", "._b.jpg"):
        (tmp_path / "folder" / name).write_bytes(b"")
    ear = Ear()
    assert list(image_paths([str(tmp_path / "folder"), str(images[0])], listener=ear)) == [images[0]]
    assert ear.said == [f"warning: {tmp_path / 'folder'}: no image in this folder: check the path"]


@pytest.mark.parametrize(
    ("word", "column", "words"),
    [
        ("empty", None, "no image in this folder"),
        ("*.webp", None, "no file fits this pattern"),
        ("list.csv", "photo", "no column 'photo': it has image"),
        ("none.csv", None, "names no image"),
        ("nothing.csv", None, "is empty"),
        ("f.npz", None, "holds features, and this model takes images"),
        ("latin.csv", None, "not readable as CSV in UTF-8"),
    ],
)
def test_words_without_an_image_are_said(tmp_path: Path, word: str, column: str | None, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("image\na.jpg\n")
    (tmp_path / "none.csv").write_text("image\n")
    (tmp_path / "nothing.csv").write_text("")
    (tmp_path / "latin.csv").write_bytes("image\nü.jpg\n".encode("latin-1"))
    with pytest.raises(DataError, match=words):
        list(image_paths([str(tmp_path / word)], None, column))


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [None, 1])
def test_every_output_holds_the_same(run: Path, photos: Path, tmp_path: Path, top: int | None) -> None:
    predictor = Predictor.load(run)
    images = [*sorted(photos.glob("a/*.jpg")), tmp_path / "gone.jpg"]
    whole = predictor.predict(images)
    parts = list(predictor.stream(images, batch_size=6))
    labels = [label for part in parts for label in part.labels]  # a score at a threshold may fall either way by batch
    for suffix in ("csv", "parquet", "jsonl"):
        with outputs.writing(tmp_path / f"p.{suffix}", top) as write:
            for part in parts:
                write(part)
    table, parquet = pl.read_csv(tmp_path / "p.csv"), pl.read_parquet(tmp_path / "p.parquet")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert table["image"].to_list() == parquet["image"].to_list() == [line["image"] for line in lines] == whole.items
    assert table["error"].to_list() == parquet["error"].to_list() == [None] * 20 + ["no such file"]
    assert parquet["labels"].to_list() == [line["labels"] for line in lines] == labels
    assert [text.split("|") if text else [] for text in table["labels"].fill_null("").to_list()] == labels
    if top:
        wanted = [row[0] if row else (None, None) for row in whole.top(1)]
        for frame in (table, parquet):
            assert frame.columns == ["image", "error", "labels", "top_1", "score_1"]
            assert frame["top_1"].to_list() == [name for name, _ in wanted]
            assert frame["score_1"].to_list()[:-1] == pytest.approx([score for _, score in wanted[:-1]])
        assert [line["top"][0]["label"] if line["top"] else None for line in lines] == [name for name, _ in wanted]
        return
    for place, name in enumerate(whole.names):
        wanted_scores = pytest.approx(whole.scores[:-1, place].tolist(), abs=1e-6)
        assert table[f"score:{name}"].to_list()[:-1] == wanted_scores
        assert parquet[f"score:{name}"].to_list()[:-1] == wanted_scores
        assert [line["scores"][name] for line in lines][:-1] == wanted_scores
        assert table[f"score:{name}"][-1] is parquet[f"score:{name}"][-1] is lines[-1]["scores"][name] is None


def test_an_output_that_fails_leaves_the_old_one(run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("old")
    found = Predictor.load(run).predict(photos / "a/00.jpg")

    def fail_half_way() -> None:
        with outputs.writing(tmp_path / "p.csv") as write:
            write(found)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    assert (tmp_path / "p.csv").read_text() == "old"


# --- evaluation --------------------------------------------------------------------------------------------


def test_an_evaluation_repeats_the_training_s_own(run: Path, photos: Path) -> None:
    predictor, table = Predictor.load(run), data.load(str(photos / "tags.csv"))
    for part in ("val", "test"):
        found = evaluate(predictor, table, part)
        assert found.summary["figures"] == pytest.approx(predictor.card.figures[part], abs=0.01)
        assert len(found.table) == predictor.card.data["items"][part]
    assert evaluate(predictor, table).summary["part"] == "test"
    every = evaluate(predictor, table, "all")
    ap = metrics.average_precision(every.scored.scores, torch.from_numpy(every.table.labels))
    assert every.classes["ap"].to_list() == pytest.approx((100 * ap).tolist(), abs=1e-3)
    assert every.classes["positives"].to_list() == [20, 8]


def test_classes_may_stand_in_another_order_and_new_data_count_in_full(run: Path, photos: Path) -> None:
    predictor, table = Predictor.load(run), data.load(str(photos / "tags.csv"))
    turned = replace(table, names=["bright", "red"], labels=np.ascontiguousarray(table.labels[:, ::-1]))
    found, expected = (evaluate(predictor, own, "all").summary for own in (turned, table))
    assert {**found, "fingerprint": "", "notes": []} == {**expected, "fingerprint": "", "notes": []}
    whole, again = evaluate(predictor, table), evaluate(predictor, turned)
    assert again.summary["part"] == "test"
    assert again.summary["figures"] == whole.summary["figures"] == predictor.card.figures["test"]


def test_of_other_data_what_was_trained_on_stays_out_and_what_is_new_counts(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    predictor, table = Predictor.load(run), data.load(str(photos / "tags.csv"))
    tested = set(evaluate(predictor, table).table.items)
    fewer = evaluate(predictor, table.select(np.arange(30)))
    assert fewer.summary["part"] == "test"
    assert set(fewer.table.items) == tested & set(table.items[:30])
    assert fewer.summary["notes"] == []
    moved = replace(table, split=np.where(np.arange(40) < 20, "test", "train"))
    again = evaluate(predictor, moved)
    assert set(again.table.items) == tested
    assert "items stand in another part here than in the training" in again.summary["notes"][0]
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    (folder / "a").rename(folder / "new")
    (folder / "tags.csv").write_text((folder / "tags.csv").read_text().replace("a/", "new/"))
    table = data.load(str(folder / "tags.csv"))
    new = evaluate(predictor, table.select(np.array([item.startswith("new/") for item in table.items])))
    assert (new.summary["part"], new.summary["items"], new.summary["notes"]) == ("all", 20, [])


def test_what_cannot_be_evaluated_is_said(run: Path, photos: Path, table_file: Path) -> None:
    predictor, table = Predictor.load(run), data.load(str(photos / "tags.csv"))
    with pytest.raises(ModelError, match="lacks red and adds green"):
        evaluate(predictor, replace(table, names=["green", "bright"]))
    features = data.load(str(table_file))
    same_names = replace(features, names=["red", "bright"], labels=np.ascontiguousarray(features.labels[:, :2]))
    with pytest.raises(ModelError, match="has features, and the model takes images"):
        evaluate(predictor, same_names)
    with pytest.raises(OptionError, match="--part most"):
        evaluate(predictor, table, "most")
    with pytest.raises(DataError, match="no class has a positive in the test part"):
        evaluate(predictor, replace(table, labels=np.zeros_like(table.labels)))


def test_images_that_cannot_be_read_are_left_out_of_an_evaluation(run: Path, photos: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(run)
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "a/00.jpg").unlink()
    (folder / "a/01.jpg").write_bytes(b"no image")
    found = evaluate(predictor, data.load(str(folder / "tags.csv")), "all")
    assert len(found.table) == len(found.scored.scores) == 38
    assert [note.split(" ")[0] for note in found.summary["notes"]] == ["32", "1", "1"]


def test_the_page_shows_every_class_with_its_pictures(run: Path, photos: Path) -> None:
    predictor = Predictor.load(run)
    found = evaluate(predictor, data.load(str(photos / "tags.csv")), "all")
    page = run_page.render(found, predictor.card)
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    shots = run_page._gallery(found.scored, predictor.thresholds, found.summary["classes"])
    assert [entry["name"] for entry in shots] == ["bright", "red"]
    for entry in shots:
        place = predictor.names.index(entry["name"])
        present = found.table.labels[:, place] == 1
        decided = (found.scored.scores >= predictor.thresholds)[:, place].numpy()
        assert entry["found"] == (present & decided).sum()
        assert len(entry["misses"]) == min((present & ~decided).sum(), run_page.SHOTS)
        assert len(entry["false_alarms"]) == min((~present & decided).sum(), run_page.SHOTS)
        scores = [shot["score"] for shot in entry["hits"]]
        assert scores == sorted(scores, reverse=True)
    for shot in [*shots[0]["hits"], *shots[0]["misses"]]:
        assert f'title="{shot["item"]}"' in page
        with Image.open(io.BytesIO(base64.b64decode(shot["image"]))) as image:
            assert image.size == (16, 24)


def test_many_classes_with_odd_names_of_which_most_have_no_positive(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.zeros((300, 130), np.int8)
    labels[:, -20:] = random.random((300, 20)) < 0.3
    names = np.array([f"a ${place}\\bad$ <b>" for place in range(130)])
    np.savez(tmp_path / "t.npz", features=random.normal(size=(300, 4)), labels=labels, names=names)
    table = data.load(str(tmp_path / "t.npz"))
    train(recipe_for(table, epochs=1).training("focal"), divide(table), tmp_path / "run", Listener(), tensorboard=False)
    predictor = Predictor.load(tmp_path / "run")
    found = evaluate(predictor, table)
    assert len(found.classes) == 130
    page = run_page.render(found, predictor.card)
    assert "bad$ &lt;b&gt;" in page
    assert "bad$ <b>" not in page


def test_the_page_of_features_has_no_pictures(tmp_path: Path) -> None:
    write_table(tmp_path / "t.npz")
    table = data.load(str(tmp_path / "t.npz"))
    train(recipe_for(table, epochs=2).training("focal"), divide(table), tmp_path / "run", Listener(), tensorboard=False)
    predictor = Predictor.load(tmp_path / "run")
    page = run_page.render(evaluate(predictor, table), predictor.card)
    assert "data:image/jpeg" not in page
    assert "row " in page


# --- images in archives and regions of images ------------------------------------------------------------------


def test_archives_and_regions_are_predicted_like_files(run: Path, photos: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))[:4]
    with zipfile.ZipFile(tmp_path / "shots.zip", "w") as archive:
        for name in names:
            archive.write(photos / name, name)
    predictor = Predictor.load(run)
    plain = predictor.predict([photos / name for name in names])
    with Image.open(photos / names[0]) as image:
        width, height = image.size
    whole = [f"{photos / name}#xywh=0,0,{width},{height}" for name in names]
    (tmp_path / "list.csv").write_text("image\n" + "".join(f"shots.zip/{name}\n" for name in names))
    for words in (["shots.zip"], [f"shots.zip/{name}" for name in names], ["list.csv"]):
        found = list(image_paths([str(tmp_path / word) for word in words]))
        assert [path.relative_to(tmp_path).as_posix() for path in found] == [f"shots.zip/{name}" for name in names]
        np.testing.assert_allclose(predictor.predict(found).scores, plain.scores, atol=1e-6)
    np.testing.assert_allclose(predictor.predict(whole).scores, plain.scores, atol=1e-6)
    odd = predictor.predict([tmp_path / "shots.zip/none.jpg", f"{photos / names[0]}#xywh=900,0,5,5"])
    assert odd.errors[0] == "not in shots.zip"
    assert "outside the image" in str(odd.errors[1])


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"x\.zip is not a readable zip"):
        list(image_paths([str(tmp_path / "x.zip")]))
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(DataError, match="no image in this archive"):
        list(image_paths([str(tmp_path / "y.zip")]))
