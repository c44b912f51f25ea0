"""Tables, splits, the built-in data, the audit, and features of images."""

import hashlib
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from rarecall import data
from rarecall.audit import audit, count_facts
from rarecall.data import features
from rarecall.data.splits import SCARCE, stratified
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, ModelError
from rarecall.images.decoding import read_image
from rarecall.models import Backbone, build_head, load_backbone
from tests.files import write_image

LABELS = np.array([[1, 0], [0, 1], [1, -1]], np.int8)
SPLIT = np.array(["train", "train", "test"])


# --- the table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS[:2]}, r"labels \(2, 2\) for 3 items and 2 classes"),
        ({"split": SPLIT[:2]}, "2 split entries for 3 items"),
        ({"names": ["a", "a"]}, "class names stand twice: a"),
        ({"labels": LABELS + np.int8(1)}, "must be int8 of 1, 0 and -1"),
        ({"labels": LABELS.astype(int)}, "must be int8"),
        ({"split": np.array(["train", "train", "holdout"])}, "unknown part 'holdout'"),
        ({"items": [], "labels": LABELS[:0], "split": SPLIT[:0]}, "no items"),
        ({"features": np.zeros((2, 4), np.float32)}, "2 feature rows for 3 items"),
    ],
)
def test_a_table_that_does_not_hold_together_is_refused(changes: dict[str, object], message: str) -> None:
    whole = {"items": ["x", "y", "z"], "names": ["a", "b"], "labels": LABELS, "split": SPLIT, **changes}
    with pytest.raises(DataError, match=message):
        LabelTable(**whole)


def test_the_fingerprint_follows_everything_a_result_depends_on() -> None:
    table = LabelTable(["x", "y", "z"], ["a", "b"], LABELS, SPLIT)
    others = [
        LabelTable(["x", "y", "w"], ["a", "b"], LABELS, SPLIT),
        LabelTable(["x", "y", "z"], ["a", "c"], LABELS, SPLIT),
        LabelTable(["x", "y", "z"], ["a", "b"], -LABELS, SPLIT),
        LabelTable(["x", "y", "z"], ["a", "b"], LABELS, SPLIT[::-1]),
        LabelTable(["x", "y", "z"], ["a", "b"], LABELS, SPLIT, features=np.zeros((3, 1), np.float32)),
    ]
    prints = {other.fingerprint() for other in others}
    assert len(prints) == len(others)
    assert table.fingerprint() not in prints
    assert table.fingerprint() == LabelTable(["x", "y", "z"], ("a", "b"), LABELS.copy(), SPLIT).fingerprint()


# --- splits ------------------------------------------------------------------------------------------------


def long_tailed(rows: int = 400) -> np.ndarray:
    """Labels whose classes have from about 200 down to 3 positives."""
    random = np.random.default_rng(3)
    labels = (random.random((rows, 6)) < np.array([0.5, 0.25, 0.1, 0.05, 0.02, 0.0])).astype(np.int8)
    labels[:3, 5] = 1
    return labels


def test_the_stratified_part_has_its_share_of_every_class_and_leaves_scarce_ones_to_train() -> None:
    labels = long_tailed()
    part = stratified(labels, 0.2, 0)
    assert abs(len(part) - 80) <= 4
    positives = (labels == 1).sum(0)
    for taken, whole in zip((labels[part] == 1).sum(0), positives, strict=True):
        assert taken == 0 if whole < SCARCE else abs(taken - 0.2 * whole) <= 2


def test_the_split_is_the_same_every_time_and_independent_of_global_state() -> None:
    first = stratified(long_tailed(), 0.2, 0)
    np.random.seed(123)
    assert np.array_equal(first, stratified(long_tailed(), 0.2, 0))
    assert not np.array_equal(first, stratified(long_tailed(), 0.2, 1))


def test_missing_parts_are_taken_from_train_and_named() -> None:
    labels = long_tailed()
    names = [f"c{place}" for place in range(6)]
    table = LabelTable([str(row) for row in range(400)], names, labels, np.full(400, "train"))
    whole, notes = data.complete_split(table)
    assert len(notes) == 2
    assert len(whole.part("test")) == pytest.approx(80, abs=4)
    assert len(whole.part("val")) == pytest.approx(64, abs=4)
    assert sum(len(whole.part(part)) for part in ("train", "val", "test")) == 400


def test_parts_that_are_there_stay_as_they_are() -> None:
    split = np.array(["train"] * 200 + ["val"] * 100 + ["test"] * 100)
    table = LabelTable([str(row) for row in range(400)], list("abcdef"), long_tailed(), split)
    whole, notes = data.complete_split(table)
    assert not notes
    assert np.array_equal(whole.split, split)


def test_too_few_rows_to_split() -> None:
    with pytest.raises(DataError, match="too few to take a val part"):
        data.complete_split(LabelTable(["x", "y", "z"], ["a", "b"], LABELS, SPLIT))


@pytest.mark.parametrize("column", ["identity", None])
def test_what_belongs_together_stays_in_one_part(column: str | None) -> None:
    """Persons where they are known, else the regions of one image; a blank person is nobody's."""
    rows = 400
    person = np.arange(rows) // 4
    items = [f"{row // (1 if column else 4)}.jpg#xywh={row % 4},0,9,9" for row in range(rows)]
    identity = np.where(np.arange(rows) < 40, "", person.astype(str))
    columns = {"identity": identity} if column else {}
    table = LabelTable(items, list("abcdef"), long_tailed(), np.full(rows, "train"), columns=columns)
    whole, notes = data.complete_split(table)
    known = identity != "" if column else np.ones(rows, bool)
    parts = [set(person[(whole.split == part) & known].tolist()) for part in ("train", "val", "test")]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert ("by identity" in notes[0]) == (column is not None)
    if column:  # the blank ones are dealt out one by one
        assert len(set(whole.split[~known].tolist())) > 1


def test_a_long_name_costs_only_itself() -> None:
    items = ["x" * 1_000_000, *map(str, range(399))]
    table = LabelTable(
        items, list("abcdef"), long_tailed(), np.full(400, "train"), columns={"identity": np.array(items, object)}
    )
    tracemalloc.start()
    data.complete_split(table)
    data.split(table, {"train": 0.5, "test": 0.5}, group="identity")
    audit(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


def test_rows_of_one_item_stay_in_one_part() -> None:
    items = [f"image {row // 2}" for row in range(400)]
    labels = np.repeat(long_tailed(200), 2, axis=0)
    whole, _ = data.complete_split(LabelTable(items, list("abcdef"), labels, np.full(400, "train")))
    assert not count_facts(whole).in_two_parts
    assert len(whole.part("test")) == pytest.approx(80, abs=8)


def test_a_single_class_can_be_split() -> None:
    labels = (np.arange(100) % 4 == 0).astype(np.int8)[:, None]
    whole, _ = data.complete_split(LabelTable([str(row) for row in range(100)], ["a"], labels, np.full(100, "train")))
    assert whole.labels[whole.part("test")].sum() == pytest.approx(5, abs=1)


# --- the built-in digits -----------------------------------------------------------------------------------


def test_digits_are_long_tailed_and_always_the_same() -> None:
    table = data.load("digits")
    train = (table.labels[table.part("train")] == 1).sum(0)
    test = (table.labels[table.part("test")] == 1).sum(0)
    assert train.max() >= 300
    assert train.min() < 10
    assert test.min() >= 90
    assert table.features is not None
    digest = hashlib.sha256(table.features.tobytes() + table.labels.tobytes()).hexdigest()
    again = data.load("digits")
    assert again.features is not None
    assert digest == hashlib.sha256(again.features.tobytes() + again.labels.tobytes()).hexdigest()


def test_no_glyph_of_the_test_part_stands_in_the_training_part() -> None:
    table = data.load("digits")
    assert table.features is not None

    def quarters(part: str) -> set[bytes]:
        found = set()
        for canvas in table.features[table.part(part), 0]:  # type: ignore[index]
            for top in (0, 9):
                for left in (0, 9):
                    cell = canvas[top : top + 9, left : left + 9]
                    if cell.any():
                        rows, columns = np.flatnonzero(cell.any(1)), np.flatnonzero(cell.any(0))
                        found.add(cell[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].tobytes())
        return found

    assert not quarters("train") & quarters("test")


# --- the audit ---------------------------------------------------------------------------------------------


def test_the_audit_counts_by_hand() -> None:
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0], [-1, 0, 0], [1, 0, 0]], np.int8)
    split = np.array(["train"] * 4 + ["test"])
    audited = audit(LabelTable(["p", "q", "r", "s", "p"], ["a", "b", "never"], labels, split))
    facts = audited.facts
    a, _, never = facts.classes
    assert (a.positives, a.unknown, a.positives_test, a.tier) == (2, 1, 1, "tail")
    assert never.positives == 0
    assert facts.density == pytest.approx(1.0)
    assert facts.unknown_share == pytest.approx(1 / 12)
    assert facts.in_two_parts == ["p"]
    said = " ".join([*audited.warnings, *audited.advice])
    for words in (
        "1 item stands in two parts (p)",
        "without a training positive",
        "never",
        "8.3% of the training labels",
    ):
        assert words in said


def test_pairs_are_counted_only_where_both_labels_are_known() -> None:
    a = np.array([1] * 10 + [0] * 10 + [1] * 5)
    b = np.array([1] * 10 + [0] * 10 + [-1] * 5)
    table = LabelTable(
        [str(row) for row in range(25)], ["a", "b"], np.stack([a, b], 1).astype(np.int8), np.full(25, "train")
    )
    (pair,) = count_facts(table).pairs
    assert (pair.together, pair.correlation) == (10, 1.0)
    assert any("nearly the same label" in sentence for sentence in audit(table).advice)


def test_missing_files_are_counted(photos: Path) -> None:
    (photos / "03.jpg").unlink()
    audited = audit(data.load(str(photos / "tags.csv")))
    assert audited.facts.missing_files == ["03.jpg"]
    assert "1 of 40 image files are missing (03.jpg)" in audited.warnings[0]


def test_contradictions_mangled_names_and_labels_without_contrast_are_named() -> None:
    labels = np.array([[1, 1, 0], [0, 1, 1], [-1, 1, 0]], np.int8)
    table = LabelTable(["x", "x", "y"], ["red|green", "Hat", "hat"], labels, np.full(3, "train"))
    said = " ".join(audit(table).warnings)
    assert "contradicting labels: x" in said
    assert "look mangled, or differ only in case: red|green, Hat, hat" in said
    assert "never absent in train, whose figures say nothing: Hat" in said


# --- images and features -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A small real backbone with fixed random weights."""
    return load_backbone("mobilenetv3_small_050", "none", (32, 32))


def test_unreadable_images_are_left_out_and_named(photos: Path, backbone: Backbone) -> None:
    (photos / "03.jpg").unlink()
    (photos / "05.jpg").write_bytes(b"no image")
    table = data.load(str(photos / "tags.csv"))
    _, kept, notes = features.extract(table, backbone)
    assert len(kept) == 38
    assert "03.jpg" not in kept.items
    assert "2 of 40 images are missing or unreadable (03.jpg, 05.jpg; the first: no such file)" in notes[0]
    with pytest.raises(DataError, match="2 of 40 images"):
        features.extract(table, backbone, strict=True)


def test_no_readable_image_is_an_error(photos: Path, backbone: Backbone) -> None:
    for image in photos.glob("*.jpg"):
        image.write_bytes(b"no image")
    with pytest.raises(DataError, match="40 of 40 images"):
        features.extract(data.load(str(photos / "tags.csv")), backbone)


def test_features_come_from_the_cache_until_an_image_changes(
    photos: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = data.load(str(photos / "tags.csv"))
    computed: list[int] = []
    compute = Backbone.features
    monkeypatch.setattr(
        Backbone, "features", lambda self, images: computed.append(len(images)) or compute(self, images)
    )
    _, first, _ = features.extract(table, backbone)
    _, again, _ = features.extract(table, backbone)
    assert computed == [40]
    assert np.array_equal(first.features, again.features)
    write_image(photos / "00.jpg", 1, 1)
    _, changed, _ = features.extract(table, backbone)
    assert computed == [40, 40]
    assert not np.array_equal(first.features[0], changed.features[0])  # type: ignore[index]
    np.testing.assert_allclose(first.features[1:], changed.features[1:], atol=1e-5)  # type: ignore[index]


def test_a_damaged_cache_file_is_computed_again(photos: Path, backbone: Backbone) -> None:
    table = data.load(str(photos / "tags.csv"))
    _, first, _ = features.extract(table, backbone)
    (file,) = (features.cache_folder() / "features").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    _, again, _ = features.extract(table, backbone)
    assert np.array_equal(first.features, again.features)


def test_an_image_that_could_not_be_read_once_is_tried_again(
    photos: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = data.load(str(photos / "tags.csv"))
    with monkeypatch.context() as failing:
        failing.setattr(
            features, "read_image", lambda path, size: "disk" if path.item == "00.jpg" else read_image(path, size)
        )
        _, kept, notes = features.extract(table, backbone)
        assert len(kept) == 39
        assert "the first: disk" in notes[0]
    _, whole, notes = features.extract(table, backbone)
    assert (len(whole), notes) == (40, [])


def test_weights_differ_in_the_key_whatever_their_name() -> None:
    first = load_backbone("mobilenetv3_small_050", "none", (32, 32)).description
    assert first == load_backbone("mobilenetv3_small_050", "none", (32, 32)).description
    assert len(first["weights_digest"]) == 32
    assert first["weights_digest"] != load_backbone("resnet18", "none", (32, 32)).description["weights_digest"]


def test_a_size_that_the_model_cannot_take() -> None:
    with pytest.raises(ModelError, match="cannot take images of 33x33"):
        load_backbone("vit_tiny_patch16_224", "none", (33, 33))


def test_a_card_with_nonsense_in_it(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"")
    (tmp_path / "w.json").write_text('{"mean": "grey"}')
    with pytest.raises(ModelError, match=r"w\.json: mean: "):
        load_backbone(weights=str(tmp_path / "w.safetensors"))


def test_weights_from_a_file_with_its_card(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    network = timm.create_model("mobilenetv3_small_050", num_classes=7)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "w.json").write_text(
        '{"model": "mobilenetv3_small_050", "mean": [0.5, 0.5, 0.5], "image_size": [48, 32]}'
    )
    loaded = load_backbone(weights=str(tmp_path / "w.safetensors"))
    assert loaded.image_size == (48, 32)
    assert loaded.description["mean"] == [0.5, 0.5, 0.5]
    network.reset_classifier(0)
    images = torch.randint(0, 256, (2, 3, 48, 32), dtype=torch.uint8)
    std = torch.tensor(loaded.description["std"])[:, None, None]
    with torch.inference_mode():
        wanted = network.eval()((images / 255 - 0.5) / std)
    torch.testing.assert_close(loaded.features(images), wanted, rtol=1e-3, atol=1e-4)


def test_weights_that_do_not_fit_name_the_layers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"conv_stem.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"layers differ: .*, .*and"):
        load_backbone("mobilenetv3_small_050", str(tmp_path / "w.safetensors"))
    (tmp_path / "w.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="not readable as safetensors"):
        load_backbone("mobilenetv3_small_050", str(tmp_path / "w.safetensors"))
    with pytest.raises(ModelError, match="unknown model 'resnet81': did you mean 'resnet18'"):
        load_backbone("resnet81", "none")


def test_a_head_for_vectors_and_for_pixels() -> None:
    assert build_head((5,), 3)(torch.zeros(2, 5)).shape == (2, 3)
    assert build_head((5,), 3, hidden=8, dropout=0.5)(torch.zeros(2, 5)).shape == (2, 3)
    assert build_head((1, 18, 18), 10, hidden=8)(torch.zeros(2, 1, 18, 18)).shape == (2, 10)


def test_the_real_weights_are_read_as_their_card_says(weights_folder: Path, data_folder: Path) -> None:
    loaded = load_backbone(weights=str(weights_folder / "mobilenetv2_100_imagenet.safetensors"), image_size=(128, 64))
    assert loaded.description["model_options"] == {"pad_type": "same"}
    assert loaded.description["mean"] == [0.5, 0.5, 0.5]
    with warnings.catch_warnings():
        table = data.load(str(data_folder / "pa100k")).select(np.arange(8))
        _, found, notes = features.extract(table, loaded)
    assert not notes
    assert found.features is not None
    assert found.features.shape == (8, 1280)
