"""The collector holds exactly what was streamed: past its limit, across processes, restarts and merges."""

import copy
import gc
import os
import pickle
import re
import signal
import tempfile
import threading
import tracemalloc
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from torch import distributed as dist
from torch import multiprocessing
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAveragePrecision

from rarecall.errors import DataError, OptionError, RarecallError, ShapeError
from rarecall.metrics import _rows
from rarecall.metrics._collector import Collector
from rarecall.metrics._ranking import mean_average_precision

ITEMS, CLASSES = 21, 3
TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
PLACES = ["RAM", "past the limit", "folder"]


def sample(items=ITEMS, classes=CLASSES, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(items, classes, generator=generator).to(dtype)
    return scores, torch.randint(-1, 2, (items, classes), generator=generator, dtype=torch.int8)


def batches(data, size=4, order=None):
    """Scores, targets and indices, batch by batch."""
    order = torch.arange(len(data[0])) if order is None else torch.as_tensor(order)
    return [(data[0][part], data[1][part], part) for part in order.split(size)]


def fill(collector, data, size=4, order=None, numbered=True):
    for scores, targets, indices in batches(data, size, order):
        collector.update(scores, targets, indices if numbered else None)
    return collector


def is_exactly(collected, data, indices=None):
    scores, targets, found = collected
    assert scores.dtype == data[0].dtype
    assert targets.dtype == torch.int8
    assert torch.equal(scores, data[0])
    assert torch.equal(targets, data[1])
    assert found.tolist() == (list(range(len(data[0]))) if indices is None else indices)
    return True


@pytest.fixture
def no_type_checker():
    """Let a wrong call reach the function even where shapes are checked at run time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(params=PLACES)
def options(request, tmp_path, monkeypatch):
    """Where the rows are kept, with copies made in small blocks."""
    monkeypatch.setattr(_rows, "BLOCK", 64)
    return {"RAM": {}, "past the limit": {"memory_limit": 300}, "folder": {"folder": tmp_path / "rows"}}[request.param]


# --- one process --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("classes", [1, 2, 3, 8])
def test_scores_of_every_type_come_back_bit_by_bit(options, dtype, classes):
    data = sample(classes=classes, dtype=dtype)
    assert is_exactly(fill(Collector(classes, **options), data).collected(), data)


def test_rows_come_in_the_order_of_the_indices(options):
    data = sample()
    order = torch.randperm(ITEMS, generator=torch.Generator().manual_seed(3))
    assert is_exactly(fill(Collector(CLASSES, **options), data, order=order).collected(), data)


def test_rows_without_indices_come_in_the_order_of_arrival(options):
    data = sample()
    collector = fill(Collector(CLASSES, **options), data, numbered=False)
    fill(collector, data, numbered=False)
    assert is_exactly(collector.collected(), tuple(torch.cat([part, part]) for part in data))
    assert collector.seen().tolist() == list(range(2 * ITEMS))


def test_the_first_copy_of_an_item_counts(options):
    data, other = sample(), sample(seed=1)
    collector = fill(Collector(CLASSES, **options), data, order=[5, 9, 5, 2])
    fill(collector, other, order=[9, 9, 1])
    expected = tuple(torch.stack([b[1], a[2], a[5], a[9]]) for a, b in zip(data, other, strict=True))
    with pytest.warns(UserWarning, match="1 item came again with other scores or targets, and the first copy stays"):
        assert is_exactly(collector.collected(), expected, [1, 2, 5, 9])
    assert collector.seen().tolist() == [1, 2, 5, 9]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_padding_that_is_computed_again_is_no_reason_to_warn(options, dtype):
    data = sample(dtype=dtype)
    collector = fill(Collector(CLASSES, **options), data)
    fill(collector, (data[0] * 1.003 + 5e-4, data[1]), order=torch.arange(ITEMS).flip(0))
    fill(collector, (data[0] * 0.997 - 5e-4, data[1]))
    assert is_exactly(collector.collected(), data)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("what", ["scores", "targets"])
def test_items_that_come_again_with_something_else_are_counted_in_a_warning(options, dtype, what):
    scores, targets = sample(dtype=dtype)
    changed = scores.clone(), targets.clone()
    for item, label in ((2, 0), (2, 1), (7, 2), (20, 0)):
        if what == "scores":
            changed[0][item, label] += 0.02 * changed[0][item, label].abs() + 0.002
        else:
            changed[1][item, label] = (changed[1][item, label] + 2) % 3 - 1
    collector = fill(Collector(CLASSES, **options), (scores, targets))
    fill(collector, changed, order=torch.arange(ITEMS).flip(0))
    fill(collector, changed)
    with pytest.warns(UserWarning, match="^3 items came again .* the first copy stays: .* folder of its own, or call"):
        assert is_exactly(collector.collected(), (scores, targets))


def test_the_scores_of_another_model_in_a_used_folder_are_not_taken_silently(tmp_path):
    fill(Collector(CLASSES, folder=tmp_path), sample())
    collector = fill(Collector(CLASSES, folder=tmp_path), sample(seed=1))
    with pytest.warns(UserWarning, match=f"^{ITEMS} items came again"):
        collector.compute()
    collector.reset()
    assert is_exactly(fill(collector, sample(seed=1)).collected(), sample(seed=1))


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize("wrong", [torch.zeros(4, 4), torch.full((4, CLASSES), torch.nan)], ids=["shape", "NaN"])
def test_a_refused_batch_shifts_no_later_one(wrong):
    data = sample()
    collector = fill(Collector(CLASSES, items=ITEMS), data, order=range(8), numbered=False)
    with pytest.raises(ShapeError):
        collector.update(wrong, torch.zeros_like(wrong))
    with pytest.raises(ShapeError, match="pass one type"):
        collector.update(torch.zeros(4, CLASSES).double(), torch.zeros(4, CLASSES))
    assert is_exactly(fill(collector, data, order=range(8, ITEMS), numbered=False).collected(), data)


def test_items_without_indices_are_counted_from_zero():
    data = sample()
    collector = fill(Collector(CLASSES, items=ITEMS), data, numbered=False)
    fill(collector, sample(seed=1), numbered=False)  # beyond `items`: padding
    assert is_exactly(collector.collected(), data)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32, torch.bool], ids=str)
def test_targets_of_any_type_become_int8(dtype):
    scores, targets = sample()
    targets = targets.clamp(min=0)
    collector = Collector(CLASSES)
    collector.update(scores, targets.to(dtype))
    assert is_exactly(collector.collected(), (scores, targets))


def test_scores_that_need_gradients_are_cut_off():
    collector = Collector(CLASSES)
    collector.update(sample()[0].requires_grad_(), sample()[1])
    assert not collector.collected()[0].requires_grad


def test_what_the_caller_does_to_a_batch_afterwards_changes_nothing():
    scores, targets = sample()
    data = scores.clone(), targets.clone()
    collector = Collector(CLASSES)
    collector.update(scores, targets)
    scores.zero_(), targets.zero_()
    assert is_exactly(collector.collected(), data)


def test_what_the_caller_does_to_the_result_changes_nothing(options):
    data = sample()
    collector = Collector(CLASSES, **options)
    collector.update(*data, torch.arange(ITEMS))
    collector.collected()[0].zero_()
    assert is_exactly(collector.collected(), data)
    assert is_exactly(fill(collector, data).collected(), data)


def test_nothing_collected():
    collector = Collector(CLASSES)
    collector.update(torch.empty(0, CLASSES), torch.empty(0, CLASSES), torch.empty(0, dtype=torch.long))
    scores, targets, indices = collector.collected()
    assert (scores.shape, targets.shape, indices.shape) == ((0, CLASSES), (0, CLASSES), (0,))
    assert collector.seen().tolist() == []
    assert np.isnan(collector.compute()["map_class"])


def test_compute_before_update_warns_as_torchmetrics_does():
    with pytest.warns(UserWarning, match="before the ``update``"):
        Collector(CLASSES).compute()


def test_reset_forgets_and_begins_anew(options):
    data = sample(seed=1)
    collector = fill(Collector(CLASSES, **options), sample(dtype=torch.float64))
    collector.reset()
    assert not len(collector.seen())
    assert not collector.update_called
    assert is_exactly(fill(collector, data).collected(), data)


# --- figures ------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_whole(options):
    data = sample(200)
    figures = fill(Collector(CLASSES, **options), data, size=16).compute()
    assert figures == {f"map_{way}": mean_average_precision(*data, way).item() for way in ("class", "sample")}


def test_mean_average_precision_is_that_of_torchmetrics():
    scores, targets = sample(300, 7)
    targets = targets.clamp(min=0)
    scores = scores.sigmoid()
    collector, peer = Collector(7), MultilabelAveragePrecision(7, average="macro", thresholds=None)
    for part in torch.arange(300).split(32):
        collector.update(scores[part], targets[part], part)
        peer.update(scores[part], targets[part].long())
    assert collector.compute()["map_class"] == pytest.approx(peer.compute().item(), abs=1e-6)


def test_a_summary_of_one_s_own():
    collector = Collector(CLASSES, summary=lambda _, targets: {"known": float((targets >= 0).sum())})
    data = sample()
    assert fill(collector, data).compute() == {"known": float((data[1] >= 0).sum())}


def test_calling_it_gives_the_figures_of_the_batch_and_keeps_it(options):
    data = sample()
    collector = Collector(CLASSES, **options)
    for scores, targets, indices in batches(data, 7):
        assert collector(scores, targets, indices)["map_class"] == mean_average_precision(scores, targets).item()
    assert is_exactly(collector.collected(), data)


def test_one_figure_is_a_tensor():
    data = sample(40)
    collector = Collector(CLASSES, figure="map_sample")
    first = torch.arange(20)
    expected = mean_average_precision(data[0][:20], data[1][:20], "sample")
    for figure in (collector(data[0][:20], data[1][:20], first), collector.compute()):
        assert (figure.dtype, figure.shape) == (torch.float32, ())
        assert figure.item() == pytest.approx(expected.item(), rel=1e-6)
    assert collector.to("meta").compute().shape == ()
    collector.update(data[0][20:], data[1][20:], first + 20)
    assert collector.compute().device.type == "meta"  # where the model is
    assert is_exactly(collector.collected(), data)


def test_a_figure_that_the_summary_has_not():
    collector = fill(Collector(CLASSES, figure="map_clas"), sample())
    with pytest.raises(OptionError, match=r"unknown figure 'map_clas': did you mean 'map_class'\? .* map_sample"):
        collector.compute()


def test_figures_follow_new_batches_and_merges():
    data = sample(40)
    collector = fill(Collector(CLASSES), data, order=range(20))
    before = collector.compute()
    collector.merge_state(fill(Collector(CLASSES), data, order=range(20, 40)))
    assert collector.compute() != before
    assert collector.compute()["map_class"] == mean_average_precision(*data).item()


def test_it_lives_in_a_collection_of_metrics():
    data = sample()
    together = MetricCollection({"all": Collector(CLASSES), "more": Collector(CLASSES)})
    fill(together, data)
    assert together.compute()["all_map_class"] == mean_average_precision(*data).item()


# --- memory -------------------------------------------------------------------------------------------------


def test_ram_stays_at_the_limit(monkeypatch):
    monkeypatch.setattr(_rows, "BLOCK", 2**16)
    limit, size, classes = 2**20, 256, 100
    data = sample(size, classes)
    collector = Collector(classes, memory_limit=limit)
    tracemalloc.start()
    try:
        for number in reversed(range(100)):  # 13 MB of rows, to be sorted
            collector.update(*data, torch.arange(number * size, (number + 1) * size))
        streaming = tracemalloc.get_traced_memory()[1]
        scores = collector.collected()[0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert streaming < limit
    assert peak < limit + 40 * 100 * size  # and the sorting of the indices
    assert scores.shape == (100 * size, classes)
    assert torch.equal(scores[-size:], data[0])


def test_the_temporary_folder_goes_with_the_collector(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = sample()
    collector = fill(Collector(CLASSES, memory_limit=0), data, order=list(reversed(range(ITEMS))))
    assert list(tmp_path.rglob("*.npy"))
    collected = collector.collected()
    del collector
    gc.collect()
    assert not list(tmp_path.iterdir())
    assert is_exactly(collected, data)


def test_within_the_limit_there_are_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fill(Collector(CLASSES), sample()).collected()
    assert not list(tmp_path.iterdir())


# --- copies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [Collector.clone, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
@pytest.mark.parametrize("place", ["RAM", "folder"])
def test_a_copy_has_the_rows_and_grows_on_its_own(copied, place, tmp_path):
    data = sample()
    collector = fill(Collector(CLASSES, folder=None if place == "RAM" else tmp_path), data, order=range(8))
    other = copied(collector)
    fill(collector, data, order=range(8, 15))
    fill(other, data, order=range(15, ITEMS))
    fill(collector, data, order=[8])
    if place == "RAM":
        assert collector.seen().tolist() == list(range(15))
        fill(collector, data, order=range(15, ITEMS))
        assert other.seen().tolist() == [*range(8), *range(15, ITEMS)]
        fill(other, data, order=range(8, 15))
    assert is_exactly(collector.collected(), data)  # a folder is one state for all
    assert is_exactly(other.collected(), data)


@pytest.mark.parametrize("copied", [Collector.clone, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_resetting_a_copy_deletes_only_what_it_wrote(copied, tmp_path):
    data = sample()
    collector = fill(Collector(CLASSES, folder=tmp_path), data, order=range(8))
    other = copied(collector)
    fill(other, data, order=range(8, 12))
    other.reset()
    assert collector.seen().tolist() == other.seen().tolist() == list(range(8))
    assert is_exactly(fill(collector, data, order=range(8, ITEMS)).collected(), data)
    collector.reset()
    assert not list(tmp_path.iterdir())


def test_a_collector_past_its_limit_cannot_be_copied():
    collector = fill(Collector(CLASSES, memory_limit=0), sample())
    with pytest.raises(RarecallError, match="give it a folder"):
        collector.clone()
    collector.reset()
    assert is_exactly(fill(collector.clone(), sample()).collected(), sample())


def test_rows_are_no_part_of_the_state_dict_and_stay_where_they_are():
    model = torch.nn.ModuleDict({"collector": fill(Collector(CLASSES), sample())})
    assert model.state_dict() == {}
    assert is_exactly(model.to("meta")["collector"].collected(), sample())
    assert is_exactly(model.half()["collector"].collected(), sample())


# --- merges -------------------------------------------------------------------------------------------------


def test_merging_counts_common_items_once(options):
    data = sample()
    first = fill(Collector(CLASSES, **options), data, order=range(12))
    second = fill(Collector(CLASSES, memory_limit=0), data, order=range(6, ITEMS))
    first.merge_state(second)
    assert is_exactly(first.collected(), data)
    assert second.seen().tolist() == list(range(6, ITEMS))


def test_merging_without_indices_is_concatenation(tmp_path):
    data = sample()
    first = fill(Collector(CLASSES, folder=tmp_path), data, order=range(12), numbered=False)
    second = fill(Collector(CLASSES), data, order=range(12, ITEMS), numbered=False)
    first.merge_state(second)
    assert is_exactly(first.collected(), data)
    first.merge_state(Collector(CLASSES, folder=tmp_path))  # the same folder: nothing new
    assert is_exactly(first.collected(), data)


def test_folders_are_merged_where_they_are(tmp_path):
    data = sample()
    for number, order in enumerate([range(9, ITEMS), range(4), range(2, 12)]):
        fill(Collector(CLASSES, folder=tmp_path / str(number)), data, order=order)
    folders = [tmp_path / str(number) for number in range(3)]
    merged = Collector.merge(folders, items=ITEMS)
    assert merged.compute()["map_class"] == mean_average_precision(*data).item()
    assert is_exactly(merged.collected(), data)
    merged.reset()
    assert not len(merged.seen())
    assert is_exactly(Collector.merge(iter(map(str, folders))).collected(), data)


def other_spellings(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    return [folder / ".", folder.parent / "none" / ".." / folder.name, link, os.path.relpath(folder)]


def test_a_folder_under_another_spelling_is_not_counted_twice(tmp_path):
    data, folder = sample(), tmp_path / "rows"
    collector = fill(Collector(CLASSES, folder=folder), data, numbered=False)
    for other in other_spellings(folder):
        with pytest.raises(DataError, match=r"/rows: named twice: pass each folder once$"):
            Collector.merge([folder, other])
        collector.merge_state(Collector(CLASSES, folder=other))
        collector.merge_state(Collector.merge([other]))
        merged = Collector.merge([other])
        merged.merge_state(collector)
        assert is_exactly(merged.collected(), data)
        assert is_exactly(Collector.merge([folder], folder=other).collected(), data)
    assert is_exactly(collector.collected(), data)


def test_folders_that_cannot_be_merged(tmp_path):
    fill(Collector(CLASSES, folder=tmp_path / "a"), sample())
    fill(Collector(CLASSES, folder=tmp_path / "b"), sample(dtype=torch.bfloat16))
    fill(Collector(2, folder=tmp_path / "c"), sample(classes=2))
    with pytest.raises(DataError, match="3 classes in bfloat16 and 3 classes in float32"):
        Collector.merge([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(DataError, match="2 classes in float32 and 3 classes in float32"):
        Collector.merge([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(DataError, match="none: no collected rows there"):
        Collector.merge([tmp_path / "a", tmp_path / "none"])
    with pytest.raises(DataError, match="no folder: no collected rows"):
        Collector.merge([])


# --- restarts -----------------------------------------------------------------------------------------------


def test_a_new_collector_goes_on_where_the_last_one_ended(tmp_path):
    data = sample()
    fill(Collector(CLASSES, folder=tmp_path), data, order=range(10))
    again = Collector(CLASSES, folder=tmp_path)
    assert again.seen().tolist() == list(range(10))
    fill(again, data, order=range(8, ITEMS))
    assert is_exactly(again.collected(), data)
    assert is_exactly(Collector(CLASSES, folder=tmp_path).collected(), data)
    again.reset()
    assert not list(tmp_path.iterdir())


def test_a_finished_folder_is_computed_without_a_warning(tmp_path):
    data = sample()
    fill(Collector(CLASSES, folder=tmp_path), data)
    assert Collector(CLASSES, folder=tmp_path).compute()["map_class"] == mean_average_precision(*data).item()


def test_arrivals_go_on_without_indices(tmp_path):
    data = sample()
    fill(Collector(CLASSES, folder=tmp_path), data, order=range(10), numbered=False)
    again = Collector(CLASSES, folder=tmp_path)
    assert is_exactly(fill(again, data, order=range(len(again.seen()), ITEMS), numbered=False).collected(), data)


def test_half_a_batch_is_dropped(tmp_path):
    data = sample()
    collector = fill(Collector(CLASSES, folder=tmp_path), data, order=range(10))
    (shard,) = tmp_path.iterdir()
    with shard.open("ab") as file:
        file.write(bytes(100))
    assert Collector(CLASSES, folder=tmp_path).seen().tolist() == list(range(10))
    assert is_exactly(fill(collector, data, order=range(10, ITEMS)).collected(), data)


@pytest.mark.parametrize("kept", [5, 100, 200], ids=["in the mark", "in the header", "in the rows"])
def test_a_damaged_shard_is_named(tmp_path, kept):
    fill(Collector(CLASSES, folder=tmp_path), sample())
    (shard,) = tmp_path.iterdir()
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"rows\.npy: is damaged .*collect its items again"):
        Collector(CLASSES, folder=tmp_path)


def test_a_shard_that_another_process_deletes_meanwhile_is_skipped(tmp_path, monkeypatch):
    data, load = sample(), np.load
    fill(Collector(CLASSES, folder=tmp_path), data, order=range(8))
    (gone,) = tmp_path.iterdir()
    collector = fill(Collector(CLASSES, folder=tmp_path), data, order=range(8, 12))

    def deleted_first(shard, **options):
        gone.unlink(missing_ok=True)
        return load(shard, **options)

    monkeypatch.setattr(_rows.np, "load", deleted_first)
    assert collector.seen().tolist() == list(range(8, 12))


def test_a_shard_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    collector = fill(Collector(CLASSES, folder=tmp_path), sample())

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_rows.np, "load", refused)
    with pytest.raises(DataError, match=r"rows\.npy: cannot be read \(.*Permission denied\): make it readable"):
        collector.collected()


@pytest.mark.parametrize("limit", [0, 300], ids=["the first row", "past the limit"])
def test_a_batch_that_could_not_be_written_counts_once_when_it_comes_again(limit, monkeypatch):
    data = sample()
    collector = Collector(CLASSES, memory_limit=limit)

    def full(*_):
        raise OSError(28, "No space left on device")

    for writer in ("new_shard", "append_rows"):
        for scores, targets, _ in batches(data):
            with monkeypatch.context() as patch:
                patch.setattr(f"rarecall.metrics._collector.{writer}", full)
                try:
                    collector.update(scores, targets)
                except OSError:
                    patch.undo()
                    collector.update(scores, targets)
    assert is_exactly(collector.collected(), tuple(torch.cat([part, part]) for part in data))


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    data = sample()
    collector = fill(Collector(CLASSES, folder=tmp_path), data, order=range(8))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_rows.npy, "write_array_header_1_0", full)
        with pytest.raises(OSError, match="No space"):
            fill(collector, data, order=range(8, 10))
    assert Collector(CLASSES, folder=tmp_path).seen().tolist() == list(range(8))
    fill(collector, data, order=range(8, ITEMS))
    assert is_exactly(Collector(CLASSES, folder=tmp_path).collected(), data)


# --- wrong input --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize(
    ("scores", "targets", "indices", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2, 4), None, r"batch 2: scores \(2, 4\) must be \(batch, 3\)"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), None, r"batch 2: scores \(1, 2, 3\) must be"),
        (torch.zeros(2, 3), torch.zeros(3, 3), None, "batch 2: .* differ in shape"),
        (torch.full((2, 3), torch.nan), torch.zeros(2, 3), None, "batch 2: the score at .* is NaN"),
        (torch.zeros(2, 3), torch.full((2, 3), 2), None, "batch 2: the target at .* is 2"),
        (torch.zeros(2, 3).long(), torch.zeros(2, 3), None, r"batch 2: scores are torch.int64: .* scores.float\(\)"),
        (torch.zeros(2, 3).bool(), torch.zeros(2, 3), None, r"batch 2: scores are torch.bool: pass scores.float\(\)"),
        (torch.zeros(2, 3).half(), torch.zeros(2, 3), None, "batch 2: scores are float16, those before float32"),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "batch 2: indices .* whole numbers"),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([1]), r"batch 2: indices \(1,\) of"),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, -1]), "batch 2: the index -1 is out of range"),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([9, 0]), "batch 2: the index 9 is out of range: .* to 8"),
    ],
)
def test_a_wrong_batch_is_named_and_not_kept(scores, targets, indices, message):
    collector = Collector(CLASSES, items=9)
    collector.update(*sample(4), torch.arange(4))
    with pytest.raises(ShapeError, match=message):
        collector.update(scores, targets, indices)
    assert is_exactly(collector.collected(), sample(4))


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize("name", ["classes", "items", "memory_limit"])
@pytest.mark.parametrize("wrong", [-1, "3", 2.0, True, [3]], ids=str)
def test_numbers_that_are_none_or_out_of_range(name, wrong):
    options = {name: wrong}
    with pytest.raises(OptionError, match=f"^{name} is {re.escape(repr(wrong))}: it must be a whole number of"):
        Collector(**{"classes": CLASSES, **options})


def test_numbers_of_classes_are_one_or_more_and_may_be_numpy_s():
    with pytest.raises(OptionError, match="classes is 0: it must be a whole number of 1 or more"):
        Collector(0)
    assert Collector(np.int64(CLASSES)).classes == CLASSES


def test_wrong_folders(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file: pass a folder"):
        Collector(CLASSES, folder=tmp_path / "file")
    np.save(tmp_path / "other.rows.npy", np.zeros(3))
    with pytest.raises(DataError, match="holds no collected rows"):
        Collector(CLASSES, folder=tmp_path)
    fill(Collector(2, folder=tmp_path / "two"), sample(classes=2))
    with pytest.raises(DataError, match="2 classes in float32, not of 3 classes"):
        Collector(CLASSES, folder=tmp_path / "two")


def test_indices_with_some_batches_only():
    collector = fill(Collector(CLASSES), sample())
    fill(collector, sample(), numbered=False)
    with pytest.raises(DataError, match="some batches came with indices and some without"):
        collector.collected()


def test_a_folder_and_items_need_indices(tmp_path):
    with pytest.raises(OptionError, match="needs indices"):
        fill(Collector(CLASSES, items=ITEMS, folder=tmp_path), sample(), numbered=False)


def test_merging_what_does_not_fit():
    collector = fill(Collector(CLASSES), sample())
    with pytest.raises(OptionError, match="not a dict"):
        collector.merge_state({})
    with pytest.raises(OptionError, match="2 classes into 3"):
        collector.merge_state(Collector(2))
    with pytest.raises(ShapeError, match="scores are float64, those before float32"):
        collector.merge_state(fill(Collector(CLASSES), sample(dtype=torch.float64)))


# --- Lightning ----------------------------------------------------------------------------------------------


class Model(LightningModule):
    """A linear model whose validation is logged."""

    def __init__(self, numbered=True):
        super().__init__()
        self.layer = torch.nn.Linear(4, CLASSES)
        torch.nn.init.eye_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)
        self.collector, self.numbered = Collector(CLASSES, items=ITEMS), numbered

    def validation_step(self, batch, _):
        inputs, targets, indices = batch
        self.collector.update(self.layer(inputs), targets, indices if self.numbered else None)

    def on_validation_epoch_end(self):
        self.log_dict(self.collector.compute())
        self.collector.reset()


class ModelOfOneFigure(Model):
    """The same, logged as any other metric of torchmetrics."""

    def __init__(self, numbered=True):
        super().__init__(numbered)
        self.collector = Collector(CLASSES, items=ITEMS, figure="map_class")

    def validation_step(self, batch, number):
        super().validation_step(batch, number)
        self.log("map", self.collector)

    def on_validation_epoch_end(self):
        """Nothing: Lightning computes and resets."""


def inputs():
    return torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(5))


def validated(model, **options):
    loader = DataLoader(TensorDataset(inputs(), sample()[1], torch.arange(ITEMS)), batch_size=4)
    quiet = {"logger": False, "barebones": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", **quiet, enable_model_summary=False, **options)
    return trainer.validate(model, loader, verbose=False)[0]


def logged():
    data = inputs()[:, :CLASSES], sample()[1]
    return {f"map_{way}": pytest.approx(mean_average_precision(*data, way).item()) for way in ("class", "sample")}


@pytest.mark.filterwarnings("ignore")
def test_lightning_logs_the_figures():
    model = Model()
    assert validated(model, devices=1) == logged()
    assert validated(model, devices=1) == logged()


@pytest.mark.filterwarnings("ignore")
def test_lightning_logs_one_figure_as_it_does_metrics():
    model = ModelOfOneFigure()
    for _ in range(2):
        assert validated(model, devices=1) == {"map": logged()["map_class"]}
        assert not model.collector.update_called  # reset


# --- several processes --------------------------------------------------------------------------------------

RANKS = 2
LEFT: list[Collector] = []  # what lives until the process ends


def one_of_two(rank: int, home: Path) -> None:
    """One process of a distributed run over 21 items, of which the second process gets one as padding."""
    torch.set_num_threads(1)
    _rows.BLOCK = 64  # a few rows at a time, and not equally many blocks in both processes
    dist.init_process_group("gloo", init_method=f"file://{home}/meeting", rank=rank, world_size=RANKS)
    tempfile.tempdir = str(home / "temporary")
    LEFT.append(fill(Collector(CLASSES, memory_limit=0), sample()))
    dealt = list(DistributedSampler(range(ITEMS), RANKS, rank, shuffle=False))
    mixed = list(DistributedSampler(range(ITEMS), RANKS, rank, shuffle=True))
    found = {
        "RAM": shared_out(dealt),
        "shuffled": shared_out(mixed),
        "past the limit": shared_out(mixed, memory_limit=0),
        "folder": shared_out(mixed, folder=home / "rows"),
        "counted": shared_out(dealt, numbered=False, items=ITEMS),
        "all in one": shared_out(list(range(ITEMS)) if rank else []),
        "16 bit": shared_out(mixed, dtype=torch.bfloat16),
        "none": shared_out([]),
        "alone": shared_out(dealt, sync_on_compute=False),
        "no indices": refusal(lambda: shared_out(dealt, numbered=False)),
        "other folders": refusal(lambda: shared_out(dealt, folder=home / f"rows of {rank}")),
        "next pass": next_pass(mixed, home / "passes"),
        "Lightning": lightning(rank, Model()),
        "Lightning, counted": lightning(rank, Model(numbered=False)),
        "Lightning, one figure": lightning(rank, ModelOfOneFigure()),
    }
    torch.save(found, home / f"{rank}.pt")
    dist.barrier()  # neither leaves while the other still talks to it
    dist.destroy_process_group()


def shared_out(order, numbered=True, dtype=torch.float32, **options):
    collector = Collector(CLASSES, **options)
    if order:
        fill(collector, sample(dtype=dtype), order=order, numbered=numbered)
    return collector.collected()


def refusal(call):
    try:
        call()
    except RarecallError as error:
        return str(error)
    return None


def next_pass(order, folder):
    """The second of two passes into one folder, each with its own scores."""
    collector = Collector(CLASSES, folder=folder)
    dist.barrier()  # else the slower process finds, and deletes, what the other has written
    for seed in (7, 0):
        collector.reset()
        fill(collector, sample(seed=seed), order=order)
        found = collector.collected()
    return found


def lightning(rank, model):
    names = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS}
    os.environ.update({name: str(value) for name, value in names.items()}, TORCHELASTIC_RUN_ID="here")
    return validated(model, devices=RANKS, strategy="ddp", plugins=[TorchElasticEnvironment()])


ROWS, WIDE, MOST = 50, 2000, 400


def killed(folder: Path) -> None:
    """Write batches until the process is killed, in the middle of whatever it does."""
    data = sample(ROWS, WIDE)
    collector = Collector(WIDE, folder=folder)
    collector.update(data[0] + 0, data[1], torch.arange(ROWS))
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    for number in range(1, MOST):
        collector.update(data[0] + number, data[1], torch.arange(ROWS) + number * ROWS)
    signal.pause()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What two processes of a distributed run found, and the folder that they and a killed one have left."""
    home = tmp_path_factory.mktemp("processes")
    (home / "temporary").mkdir()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # one process imports, all others are its forks
    runs = [context.Process(target=one_of_two, args=(rank, home)) for rank in range(RANKS)]
    runs.append(context.Process(target=killed, args=(home / "killed",)))
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert [run.exitcode for run in runs] == [0, 0, -signal.SIGKILL]
    return [torch.load(home / f"{rank}.pt") for rank in range(RANKS)], home


@pytest.mark.parametrize("rank", range(RANKS))
@pytest.mark.parametrize(
    "case", ["RAM", "shuffled", "past the limit", "folder", "counted", "all in one", "16 bit", "next pass"]
)
def test_two_processes_have_what_one_would_have(processes, case, rank):
    data = sample(dtype=torch.bfloat16 if case == "16 bit" else torch.float32)
    assert is_exactly(processes[0][rank][case], data)


@pytest.mark.parametrize("rank", range(RANKS))
def test_two_processes_without_any_rows(processes, rank):
    assert [len(part) for part in processes[0][rank]["none"]] == [0, 0, 0]


def test_temporary_folders_go_with_their_process(processes):
    assert not list((processes[1] / "temporary").iterdir())


def test_processes_can_stay_on_their_own(processes):
    assert processes[0][0]["alone"][2].tolist() == list(range(0, ITEMS, 2))
    assert processes[0][1]["alone"][2].tolist() == [0, *range(1, ITEMS, 2)]  # 0 is the padding


@pytest.mark.parametrize("rank", range(RANKS))
def test_two_processes_refuse_what_would_count_items_twice_or_not_at_all(processes, rank):
    assert "without indices in a distributed run" in processes[0][rank]["no indices"]
    assert "is not the same folder in all processes" in processes[0][rank]["other folders"]


@pytest.mark.parametrize("rank", range(RANKS))
@pytest.mark.parametrize("case", ["Lightning", "Lightning, counted"])
def test_lightning_logs_the_figures_of_two_processes(processes, case, rank):
    assert processes[0][rank][case] == logged()
    assert processes[0][rank]["Lightning, one figure"] == {"map": logged()["map_class"]}


def test_whole_batches_outlive_a_killed_process(processes):
    collector = Collector(WIDE, folder=processes[1] / "killed")
    seen = collector.seen()
    assert seen.tolist() == list(range(len(seen)))
    assert len(seen) > ROWS
    assert len(seen) % ROWS == 0
    data = sample(ROWS, WIDE)
    following = torch.arange(ROWS) + len(seen)
    collector.update(data[0], data[1], following)
    scores, targets, indices = collector.collected()
    assert torch.equal(indices, torch.arange(len(seen) + ROWS))
    for number, part in enumerate(scores[: len(seen)].split(ROWS)):
        assert torch.equal(part, data[0] + number)
    assert torch.equal(scores[len(seen) :], data[0])
    assert torch.equal(targets, data[1].repeat(len(targets) // ROWS, 1))
