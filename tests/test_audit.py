"""The audit: copies, leaks, pairs, shifts, sources, the noise of AP, and its page."""

import io
import itertools
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy.stats import fisher_exact, norm

from rarecall import data, metrics
from rarecall.audit import Audit, Facts, audit, count_facts, findings, label_statistics
from rarecall.audit import copies as duplicates
from rarecall.audit.copies import Copies, find_copies, near_pairs, perceptual_hash
from rarecall.audit.findings import CHECKS, SEVERITIES, Finding
from rarecall.audit.label_statistics import (
    average_precision_deviation,
    p_values,
    pair_shift,
    positives_needed,
    prevalence_shift,
    together,
)
from rarecall.data.table import LabelTable
from rarecall.listener import Listener
from rarecall.reports import audit_page, terminal
from tests.commands import Run


def picture(seed: int, size: tuple[int, int] = (96, 128)) -> Image.Image:
    """A smooth scene with shapes of its own: noise of few pixels, enlarged."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def table_of(
    items: list[str],
    split: list[str],
    root: Path | None = None,
    labels: np.ndarray | None = None,
    **columns: list[str],
) -> LabelTable:
    """A table of images with two classes, or with these labels."""
    if labels is None:
        labels = np.array([[row % 2, 1 - row % 2] for row in range(len(items))], np.int8)
    names = [f"class {place}" for place in range(labels.shape[1])]
    arrays = {name: np.array(column) for name, column in columns.items()}
    return LabelTable(items, names, labels, np.array(split), "csv:t.csv", root, columns=arrays)


def labels_table(parts: dict[str, np.ndarray], **columns: np.ndarray) -> LabelTable:
    """A table of labels alone, part after part."""
    labels = np.concatenate(list(parts.values())).astype(np.int8)
    split = np.repeat(list(parts), [len(part) for part in parts.values()])
    items = [f"{row}.jpg" for row in range(len(labels))]
    return LabelTable(items, [f"c{place}" for place in range(labels.shape[1])], labels, split, columns=columns)


def found(facts: Facts, code: str) -> Finding:
    """The finding of a code, of which there is one."""
    (one,) = [one for one in findings(facts) if one.code == code]
    return one


def codes(facts: Facts) -> set[str]:
    """The codes of all findings."""
    return {one.code for one in findings(facts)}


# --- copies ------------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Eight scenes; of the first a re-compressed, a small, a brighter, a turned and an exact copy."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for seed in range(8):
        picture(seed).save(folder / f"{seed}.png")
    first = picture(0)
    first.save(folder / "jpeg.jpg", quality=40)
    first.resize((60, 80)).save(folder / "small.png")
    first.point(lambda level: int(0.8 * level + 20)).save(folder / "bright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise before it is shown
    first.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    (folder / "same.png").write_bytes((folder / "0.png").read_bytes())
    return folder


COPIES_OF_FIRST = {"0.png", "jpeg.jpg", "small.png", "bright.png", "turned.jpg", "same.png"}


def test_copies_are_found_whatever_was_done_to_them(scenes: Path) -> None:
    items = sorted(path.name for path in scenes.iterdir())
    copies = find_copies(table_of(items, ["train"] * len(items), scenes))
    assert [{items[row] for row in group} for group in copies.groups()] == [COPIES_OF_FIRST]
    assert [[items[row] for row in group] for group in copies.exact] == [["0.png", "same.png"]]
    assert not copies.unreadable


def test_copies_are_found_within_an_archive_and_within_regions(tmp_path: Path) -> None:
    sheet = Image.new("RGB", (300, 140))
    sheet.paste(picture(1), (10, 5))
    sheet.paste(picture(2), (180, 5))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, image in (("one.png", picture(1)), ("sheet.png", sheet)):
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            archive.writestr(name, buffer.getvalue())
    items = [
        "images.zip/one.png",
        "images.zip/sheet.png#xywh=10,5,96,128",
        "images.zip/sheet.png#xywh=180,5,96,128",
    ]
    copies = find_copies(table_of(items, ["train"] * 3, tmp_path))
    assert copies.groups() == [[0, 1]]
    assert copies.exact == []


def test_what_cannot_be_read_is_told_and_not_compared(scenes: Path) -> None:
    (scenes / "empty.jpg").write_bytes(b"")
    (scenes / "cut.jpg").write_bytes((scenes / "jpeg.jpg").read_bytes()[:400])
    items = ["0.png", "empty.jpg", "gone.jpg", "cut.jpg", "0.png"]
    copies = find_copies(table_of(items, ["train"] * 5, scenes))
    assert {items[row] for row in copies.unreadable} == {"empty.jpg", "gone.jpg", "cut.jpg"}
    assert copies.compared.tolist() == [0]
    facts = count_facts(table_of(items, ["train"] * 5, scenes), copies=True)
    assert found(facts, "RC101").numbers == {"missing": 1, "items": 5}
    assert found(facts, "RC102").numbers == {"unreadable": 2, "items": 5}


def test_a_table_of_which_nothing_can_be_read_is_no_failure(tmp_path: Path) -> None:
    facts = count_facts(table_of(["a.jpg", "b.jpg"], ["train", "test"], tmp_path), copies=True)
    assert facts.copies is not None
    assert (facts.copies.compared, len(facts.copies.unreadable), facts.copies.near) == (0, 2, [])


def test_flat_images_are_copies_only_of_the_same_grey(tmp_path: Path) -> None:
    for name, level in (("black", 0), ("dark", 1), ("white", 255)):
        Image.new("RGB", (40, 40), (level,) * 3).save(tmp_path / f"{name}.png")
    picture(3).save(tmp_path / "scene.png")
    items = ["black.png", "dark.png", "white.png", "scene.png"]
    assert find_copies(table_of(items, ["train"] * 4, tmp_path)).groups() == [[0, 1]]


def test_one_shape_in_other_colours_is_no_copy() -> None:
    colours = np.stack([np.asarray(picture(seed).resize((8, 8))) for seed in (1, 1, 2)])
    pairs = near_pairs(np.array([10, 20, 30]), np.zeros(3, np.uint64), colours)
    assert [(pair.first, pair.second) for pair in pairs] == [(10, 20)]


def test_all_pairs_within_twelve_bits_are_found() -> None:
    random = np.random.default_rng(0)
    base = random.integers(0, 2**63, 45, dtype=np.uint64)
    bits = [count for count in range(8, 17) for _ in range(5)]
    flips = [sum(1 << int(bit) for bit in random.permutation(63)[:count]) for count in bits]
    hashes = np.concatenate([base, base ^ np.array(flips, np.uint64), base[:3]])
    colours = np.broadcast_to(np.asarray(picture(1).resize((8, 8))), (len(hashes), 8, 8, 3))
    wanted = {
        (i, j)
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= 12
    }
    pairs = near_pairs(np.arange(len(hashes)), hashes, colours)
    assert {(pair.first, pair.second) for pair in pairs} == wanted
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)


def test_frames_of_a_still_camera_stay_one_group_though_not_all_pairs_are_listed() -> None:
    size = 3 * duplicates.MOST_OF_ONE
    colours = np.broadcast_to(np.asarray(picture(1).resize((8, 8))), (size, 8, 8, 3))
    pairs = near_pairs(np.arange(size), np.zeros(size, np.uint64), colours)
    assert len(pairs) < size * duplicates.MOST_OF_ONE
    assert Copies(np.arange(size), {}, [], pairs).groups() == [list(range(size))]


def test_the_hash_is_the_signs_of_a_cosine_transform() -> None:
    from scipy.fft import dctn

    grey = np.asarray(picture(4).convert("L").resize((32, 32)), np.float32)
    frequencies = dctn(grey, norm=None)[:8, :8].ravel()[1:]
    bits = (frequencies > np.median(frequencies)).astype(int)
    assert int(perceptual_hash(grey)) == int("".join(map(str, bits)) + "0", 2)


def test_rows_of_features_that_are_the_same_are_copies() -> None:
    features = np.array([[1, 2], [3, 4], [1, 2], [5, 6]], np.float32)
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.int8)
    split = np.array(["train", "train", "test", "test"])
    facts = count_facts(LabelTable(list("abcd"), ["x", "y"], labels, split, features=features), copies=True)
    assert facts.copies is not None
    assert facts.copies.exact == [["a", "c"]]
    assert found(facts, "RC204").numbers == {"train-test": {"found": 1, "of": 2}}
    assert found(facts, "RC212").numbers == {"pairs": 1, "labels": 1}


def test_images_are_opened_only_if_asked_for(scenes: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    table = table_of(["0.png", "same.png", "1.png"], ["train", "test", "test"], scenes)

    class Ear(Listener):
        def progress(self, what: str, done: int, total: int | None) -> None:
            steps.append((what, done, total))

    assert count_facts(table, listener=Ear()).copies is None
    assert steps == []
    count_facts(table, copies=True, listener=Ear())
    assert steps == [("images", 3, 3)]


# --- leaks -------------------------------------------------------------------------------------------------


def test_copies_across_parts_are_leaks(scenes: Path) -> None:
    items = ["0.png", "1.png", "same.png", "jpeg.jpg", "2.png", "3.png"]
    split = ["train", "train", "test", "val", "val", "test"]
    facts = count_facts(table_of(items, split, scenes), copies=True)
    exact, near = found(facts, "RC204"), found(facts, "RC205")
    assert (exact.severity, exact.numbers) == ("error", {"train-test": {"found": 1, "of": 2}})
    assert near.severity == "warning"
    assert near.numbers == {"train-val": {"found": 1, "of": 2}}
    assert "1 of 2 of validation are in train, as jpeg.jpg" in near.sentence
    assert facts.copies is not None
    (pair,) = facts.copies.near
    assert (pair.first, pair.second, pair.parts, pair.differing) == ("0.png", "jpeg.jpg", ("train", "val"), 2)


def test_regions_of_one_image_identities_and_cameras_in_two_parts_are_told() -> None:
    items = ["a.jpg#xywh=0,0,5,5", "a.jpg#xywh=5,0,5,5", "b.jpg", "c.jpg", "d.jpg"]
    table = table_of(
        items,
        ["train", "val", "train", "test", "test"],
        identity=["7", "8", "9", "9", "-1"],
        camera=["1", "1", "2", "1", "2"],
    )
    facts = count_facts(table)
    image, identity, camera = (found(facts, code) for code in ("RC202", "RC203", "RC206"))
    assert (image.severity, image.numbers) == ("warning", {"train-val": {"found": 1, "of": 1}})
    assert (identity.severity, identity.numbers) == ("error", {"train-test": {"found": 1, "of": 1}})
    assert camera.severity == "advice"
    assert camera.numbers["train-test"] == {"found": 2, "of": 2}


def test_rows_without_an_identity_share_none() -> None:
    table = table_of(["a.jpg", "b.jpg"], ["train", "test"], identity=["", ""])
    assert "RC203" not in codes(count_facts(table))


# --- classes and pairs -------------------------------------------------------------------------------------


def test_pairs_are_counted_as_by_hand() -> None:
    labels = np.random.default_rng(1).integers(-1, 2, (60, 4)).astype(np.int8)
    counted = together(labels)
    for i, j in itertools.product(range(4), repeat=2):
        rows = [row for row in labels.tolist() if row[i] >= 0 and row[j] >= 0]
        both = sum(row[i] == row[j] == 1 for row in rows)
        first, second = sum(row[i] for row in rows), sum(row[j] for row in rows)
        assert (counted.known[i, j], counted.both[i, j], counted.first[i, j]) == (len(rows), both, first)
        assert counted.expected[i, j] == pytest.approx(first * second / len(rows))
        assert counted.given[i, j] == pytest.approx(both / first)
    rows = (labels[:, 0] >= 0) & (labels[:, 1] >= 0)
    assert counted.correlation[0, 1] == pytest.approx(np.corrcoef(labels[rows, 0], labels[rows, 1])[0, 1])


def test_counts_of_many_rows_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(1).integers(-1, 2, (100, 3)).astype(np.int8)
    whole = together(labels)
    monkeypatch.setattr(label_statistics, "ROWS_AT_ONCE", 7)
    for one, other in zip(whole, together(labels), strict=True):
        np.testing.assert_array_equal(one, other)


def test_implications_and_exclusions_are_named_with_their_exceptions() -> None:
    random = np.random.default_rng(0)
    skirt = random.random(1000) < 0.2
    female = skirt | (random.random(1000) < 0.3)
    female[np.flatnonzero(skirt)[0]] = False  # one error
    front = random.random(1000) < 0.5
    table = labels_table({"train": np.stack([skirt, female, front, ~front], 1)})
    facts = count_facts(table)
    (implied,) = facts.implications.strongest
    assert (implied.first, implied.second, implied.items, implied.exceptions) == ("c0", "c1", int(skirt.sum()), 1)
    (excluded,) = facts.exclusions.strongest
    assert (excluded.first, excluded.second) == ("c2", "c3")
    assert excluded.expected == pytest.approx(front.sum() * (~front).sum() / 1000, abs=0.1)
    assert "c0 ⇒ c1" in found(facts, "RC402").sentence
    assert "c2 + c3 (250)" in found(facts, "RC403").sentence


def test_independent_classes_are_neither_implied_nor_excluded() -> None:
    for seed in range(5):
        labels = np.random.default_rng(seed).random((400, 30)) < 0.1
        facts = count_facts(labels_table({"train": labels}))
        assert (facts.implications.found, facts.exclusions.found) == (0, 0)


def test_a_class_that_nearly_all_have_is_implied_by_none() -> None:
    rare = np.arange(500) < 100
    facts = count_facts(labels_table({"train": np.stack([rare, np.arange(500) != 400], 1)}))
    assert facts.implications.found == 0


def test_classes_that_cannot_be_learnt_or_measured_are_named() -> None:
    train = np.zeros((50, 4), int)
    train[:3, 0] = train[:10, 1] = train[:, 2] = 1
    val, test = np.zeros((10, 4), int), np.zeros((10, 4), int)
    val[:, 2] = test[:, 2] = test[0, 1] = 1
    facts = count_facts(labels_table({"train": train, "val": val, "test": test}))
    assert found(facts, "RC301").numbers["names"] == ["c3"]
    assert found(facts, "RC302").numbers["names"] == ["c2"]
    assert found(facts, "RC303").numbers["names"] == ["c0"]
    assert found(facts, "RC304").numbers["names"] == ["c0", "c1"]
    assert found(facts, "RC305").numbers["names"] == ["c0", "c3"]
    assert found(facts, "RC306").numbers["names"] == ["c2"]
    assert found(facts, "RC307").numbers["names"] == ["c0", "c1"]


# --- sources -----------------------------------------------------------------------------------------------


def test_what_no_source_or_only_one_labels_is_told() -> None:
    labels = np.array([[1, -1, 0]] * 6 + [[1, -1, -1]] * 4)
    source = np.array(["peta"] * 6 + ["market"] * 4)
    facts = count_facts(labels_table({"train": labels}, source=source))
    assert found(facts, "RC501").numbers["names"] == ["c1"]
    assert found(facts, "RC502").numbers["names"] == ["c2 (peta)"]
    assert facts.by_source is not None
    assert (facts.by_source.sources, facts.by_source.items) == (["peta", "market"], [6, 4])
    assert facts.by_source.shares == [[0, 1, 0], [0, 1, 1]]
    console = Console(record=True, width=100, file=io.StringIO())
    terminal.print_audit(Audit(facts, findings(facts)), console)
    said = console.export_text()
    table = said.partition("unknown by source")[2]
    assert re.search(r"class\s+peta\s+market", table)
    assert re.search(r"c2\s+0\.0%\s+100\.0%", table)


def test_a_single_source_has_nothing_to_compare() -> None:
    facts = count_facts(labels_table({"train": np.array([[1, -1], [0, 1]])}, source=np.array(["a", "a"])))
    assert facts.by_source is None


# --- shifts ------------------------------------------------------------------------------------------------


def test_the_shift_of_a_prevalence_is_the_textbook_s_z() -> None:
    first = np.repeat([1, 0, -1], [30, 70, 5]).astype(np.int8)[:, None]
    second = np.repeat([1, 0, -1], [90, 110, 9]).astype(np.int8)[:, None]
    shift = prevalence_shift(first, second, np.arange(105), np.arange(209))
    pooled = 120 / 300
    z = (0.45 - 0.3) / np.sqrt(pooled * (1 - pooled) * (1 / 100 + 1 / 200))
    assert (shift.first[0], shift.second[0], shift.tested[0]) == (0.3, 0.45, True)
    assert shift.deviations[0] == pytest.approx(z)
    assert p_values(np.array([z]))[0] == pytest.approx(2 * norm.sf(z))


def test_rows_of_one_group_count_as_dependent() -> None:
    first = np.repeat([1, 0], [30, 70]).astype(np.int8)[:, None]
    second = np.repeat([1, 0], [45, 55]).astype(np.int8)[:, None]
    alone = prevalence_shift(first, second, np.arange(100), np.arange(100)).deviations[0]
    # Each row five times is no more evidence, if it is known to be the same.
    often = [np.repeat(part, 5, axis=0) for part in (first, second)]
    groups = np.repeat(np.arange(100), 5)
    assert prevalence_shift(*often, groups, groups).deviations[0] == pytest.approx(alone)
    assert prevalence_shift(*often, np.arange(500), np.arange(500)).deviations[0] > 2 * alone


def test_a_bond_between_classes_that_moved_is_seen_though_the_classes_did_not_move() -> None:
    def part(both: int, one: int, other: int, neither: int) -> np.ndarray:
        return np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [both, one, other, neither], axis=0).astype(np.int8)

    train, test = part(100, 100, 100, 100), part(150, 50, 50, 150)
    shift = pair_shift(together(train), together(test))
    log_odds = np.log(150.5**2 / 50.5**2)
    error = np.sqrt(4 / 100.5 + 2 / 150.5 + 2 / 50.5)
    assert shift.deviations[0, 1] == pytest.approx(log_odds / error)
    assert shift.second[0, 1] == pytest.approx(np.log(fisher_exact([[150, 50], [50, 150]])[0]), abs=0.03)
    facts = count_facts(labels_table({"train": train, "test": test}))
    assert [one.classes for one in facts.pair_shifts.strongest] == [["c0", "c1"]]
    assert facts.prevalence_shifts.found == 0


def test_parts_drawn_alike_are_rarely_said_to_differ() -> None:
    said = 0
    for seed in range(60):
        labels = np.random.default_rng(seed).random((900, 12)) < np.linspace(0.05, 0.6, 12)
        facts = count_facts(labels_table({"train": labels[:500], "val": labels[500:700], "test": labels[700:]}))
        said += bool(facts.prevalence_shifts.found) + bool(facts.pair_shifts.found)
    assert said <= 14  # 120 families of tests at 5 %: 6 expected, 14 or fewer with a probability of 99.9 %


def test_a_class_that_moved_is_told_with_its_shares() -> None:
    train, test = np.zeros((400, 2), int), np.zeros((200, 2), int)
    train[:40, 0] = test[:80, 0] = 1
    train[::2, 1] = test[::2, 1] = 1
    (shift,) = count_facts(labels_table({"train": train, "test": test})).prevalence_shifts.strongest
    assert (shift.part, shift.classes, shift.train, shift.other) == ("test", ["c0"], 0.1, 0.4)
    assert shift.deviations > 8
    assert shift.p < 1e-6


# --- the noise of AP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positives", "negatives", "ap", "apart"),
    [(10, 100, 0.55, 0.2), (50, 500, 0.3, 0.1), (60, 3000, 0.7, 0.1), (200, 200, 0.8, 0.1)],
)
def test_the_deviation_of_ap_is_that_of_a_simulation(positives: int, negatives: int, ap: float, apart: float) -> None:
    random = np.random.default_rng(0)
    low, high = 0.0, 8.0
    targets = np.repeat([1, 0], [4000, 4000 * negatives // positives])[:, None]
    noise = random.normal(size=targets.shape)
    for _ in range(18):  # the separation that gives this AP with as good as infinitely many items
        middle = (low + high) / 2
        scores = torch.from_numpy(noise + middle * targets)
        measured = float(metrics.average_precision(scores, torch.from_numpy(targets))[0])
        low, high = (middle, high) if measured < ap else (low, middle)
    draws = torch.from_numpy(random.normal(size=(positives + negatives, 1500)))
    present = torch.arange(positives + negatives) < positives
    drawn = metrics.average_precision(draws + low * present[:, None], present[:, None].expand(-1, 1500).long())
    expected = average_precision_deviation(np.array([positives]), np.array([negatives]), np.array([ap]))[0]
    assert expected == pytest.approx(float(drawn.std()), rel=apart)


def test_four_times_the_items_halve_the_deviation() -> None:
    one, four = average_precision_deviation(np.array([25, 100]), np.array([1000, 4000]))
    assert one == pytest.approx(2 * four)
    needed = positives_needed(np.array([one]), np.array([25]), 0.05)[0]
    enough = average_precision_deviation(np.array([needed]), np.array([40 * needed]))[0]
    assert 1.96 * enough == pytest.approx(0.05, rel=0.01)


def test_without_both_kinds_there_is_no_deviation() -> None:
    found = average_precision_deviation(np.array([0, 5, 5]), np.array([9, 0, 5]))
    assert np.isnan(found).tolist() == [True, True, False]


def test_each_class_is_told_how_sure_its_ap_can_be() -> None:
    train = np.random.default_rng(0).random((200, 2)) < [0.3, 0.1]
    facts = count_facts(labels_table({"train": train, "test": train[:100]}))
    one = facts.classes[1]
    positives = int(train[:100, 1].sum())
    expected = 100 * average_precision_deviation(np.array([positives]), np.array([100 - positives]))[0]
    assert one.deviation == pytest.approx(expected, abs=0.006)
    assert one.needed_5 is not None
    assert one.needed_1 is not None
    assert one.needed_1 == pytest.approx(25 * one.needed_5, rel=0.05)
    without = count_facts(labels_table({"train": train}))  # whose test part would be a fifth of train
    assert without.classes[1].deviation is not None
    assert without.classes[1].deviation > one.deviation
    assert found(without, "RC701").numbers["classes"] == 2


# --- findings, the terminal and the page -------------------------------------------------------------------


def test_findings_have_codes_severities_and_plain_numbers(scenes: Path) -> None:
    facts = count_facts(
        table_of(["0.png", "same.png", "gone.png", "1.png"], ["train", "test", "test", "val"], scenes), copies=True
    )
    assert all(re.fullmatch(r"RC[1-7]\d\d", one.code) and one.severity in SEVERITIES for one in findings(facts))
    order = [(SEVERITIES.index(one.severity), one.code) for one in findings(facts)]
    assert order == sorted(order)
    assert len(codes(facts)) == len(findings(facts))
    stored = json.loads(json.dumps(Audit(facts, findings(facts)).as_dict(), allow_nan=False))
    assert stored["warnings"] + stored["advice"] == [one["sentence"] for one in stored["findings"]]


def test_the_codes_are_those_of_the_documentation() -> None:
    root = Path(__file__).parents[1]
    source = (root / "src/rarecall/audit/findings.py").read_text()
    documented = (root / "docs/audit.md").read_text()
    assert set(re.findall(r'"(RC\d\d\d)"', source)) == set(re.findall(r"^\| (RC\d\d\d)", documented, re.M))
    assert len(CHECKS) == len(set(CHECKS))


def test_the_terminal_shows_findings_within_80_columns(scenes: Path) -> None:
    facts = count_facts(table_of(["0.png", "same.png"], ["train", "test"], scenes), copies=True)
    console = Console(width=80, record=True, file=io.StringIO())
    terminal.print_audit(Audit(facts, findings(facts)), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "error RC204: " in text
    assert "AP ±" in text


HOSTILE = "<script>alert(1)</script>"


def test_the_page_shows_copies_and_escapes_names(scenes: Path) -> None:
    table = table_of(["0.png", "jpeg.jpg", "1.png"], ["train", "test", "test"], scenes)
    table = LabelTable(
        table.items, [HOSTILE, "b & c"], table.labels, table.split, "csv:t", scenes, notes=("two rows left out",)
    )
    html = audit_page.render(audit(table, copies=True), table)
    assert HOSTILE not in html
    assert "b &amp; c" in html
    assert html.count("data:image/jpeg;base64,") == 2
    assert "<b>2 labels differ</b>" in html
    assert "Two rows left out." in html
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", html)


def test_the_page_of_sources_and_shifts() -> None:
    train, test = np.zeros((400, 2), int), np.zeros((200, 2), int)
    train[:40, 0] = test[:80, 0] = 1
    train[:, 1] = -1
    test[:, 1] = 1
    source = np.repeat(["one", "two"], [400, 200])
    table = labels_table({"train": train, "test": test}, source=source)
    html = audit_page.render(audit(table), table)
    assert "Unknown labels by source" in html
    assert '<td class="full">100</td>' in html
    assert "Classes that moved" in html
    assert "Copies and near copies" not in html


def test_the_command_writes_json_page_and_figure(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "39.jpg").write_bytes((photos / "38.jpg").read_bytes())
    done = run("audit", photos / "tags.csv")
    assert done.returncode == 0, done.stderr
    assert "RC211" in done.stdout
    stored = json.loads((tmp_path / "rarecall-audit/audit.json").read_text())
    assert stored["copies"]["exact"] == [["38.jpg", "39.jpg"]]
    done = run("audit", photos / "tags.csv", "--no-duplicates", "--out", "quick")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "quick/audit.json").read_text())["copies"] is None
    assert (tmp_path / "quick/audit.html").is_file()


# --- real photos -------------------------------------------------------------------------------------------


def test_near_copies_among_real_photos(data_folder: Path) -> None:
    facts = count_facts(data.load(str(data_folder / "pa100k")), copies=True)
    leak = found(facts, "RC205").numbers
    near = leak["train-val"]["found"] + leak["train-test"]["found"]
    assert 0.03 <= near / (leak["train-val"]["of"] + leak["train-test"]["of"]) <= 0.06
    assert facts.copies is not None
    assert (facts.copies.compared, facts.copies.exact) == (2000, [])
    assert {"001358.jpg", "001612.jpg"} <= {Path(item).name for group in facts.copies.groups for item in group}
