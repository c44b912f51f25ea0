"""A small data set of every format in its official layout, as the tests of the formats write them."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rarecall import data
from tests import published
from tests import test_formats as tables
from tests import test_formats_attributes as attributes
from tests import test_formats_classes as classes
from tests import test_formats_concepts as concepts
from tests import test_formats_pedestrian as pedestrians
from tests import test_formats_shards as shards
from tests.damage import Writer
from tests.files import write_image, write_table

Made = tuple[str, Mapping[str, Any]]


def _of(name: str, write: Callable[[Path], Path], **options: Any) -> Writer:
    return lambda folder: (f"{name}:{write(folder)}", options)


def _csv(folder: Path) -> Path:
    text = 'image,split,hat,"a ""b"", c"\na.jpg,train,1,\n"b, c.jpg",val,0,-1\nd.jpg,test,1.0,0\n'
    return Path(tables.write(folder / "tags.csv", text))


def _tags(folder: Path) -> Path:
    return Path(tables.write(folder / "tags.csv", "image,tags\na.jpg,x|y\nb.jpg,\nc.jpg,y\n"))


def _features(folder: Path) -> Path:
    write_table(folder / "table.npz", rows=12)
    return folder / "table.npz"


def _compressed_features(folder: Path) -> Path:
    write_table(folder / "plain.npz", rows=12)
    with np.load(folder / "plain.npz") as arrays:
        np.savez_compressed(folder / "table.npz", **arrays)
    (folder / "plain.npz").unlink()
    return folder / "table.npz"


def _mulan(folder: Path) -> Path:
    tables.write(folder / "x.xml", tables.XML)
    tables.write(folder / "train.arff", tables.HEAD + "@data\n1,yes,1,0\n2,no,0,?\n")
    return folder


def _voc(folder: Path) -> Path:
    return published.write_voc(folder / "VOCdevkit/VOC2007", published.OBJECTS, published.LISTS_2007)


def _voc_lt(folder: Path) -> Path:
    later = {"2008_000002": [("tvmonitor", 0)], "2009_000001": [("cat", 1), ("sofa", 0)]}
    devkit = _voc(folder).parent
    published.write_voc(devkit / "VOC2012", later, {"train": list(later)})
    published.write(devkit / "longtail2012/img_id.txt", "2009_000001\n2008_000002\n")
    return devkit


def _coco(folder: Path) -> Path:
    published.write(folder / "annotations/instances_train2017.json", published.TRAIN)
    published.write(folder / "annotations/instances_val2017.json", published.VAL)
    return folder


def _coco_lt(folder: Path) -> Made:
    ids = published.write(_coco(folder) / "img_id.pkl", pickle.dumps([9, 30], protocol=2))
    return f"coco-lt:{folder}", {"ids": str(ids)}


def _folder(folder: Path) -> Path:
    for name in ("train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, 1, 0)
    return folder


def _shards(folder: Path) -> Path:
    files = [("a/1.jpg", published.png(1)), ("a/1.json", published.as_json({"labels": ["owl", "cat"]}))]
    return published.shard(
        folder / "train-000.tar", [*files, ("b.png", published.png(2)), ("b.json", b'{"labels": []}')]
    )


def _hugging_face(folder: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    shards.hugging_face().save_to_disk(folder)
    return folder


def _pets(folder: Path) -> Path:
    classes.pets(folder)
    return folder


def _cars(folder: Path) -> Path:
    classes.cars(folder)
    return folder


def _parquet(folder: Path) -> Path:
    frame = pl.DataFrame({"image": ["a.jpg", "b.jpg"], "tags": [["x", "y"], ["y"]], "split": ["train", "test"]})
    frame.write_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def _json_lines(folder: Path) -> Path:
    lines = '{"image": "a.jpg", "hat": 1, "bag": null}\n{"image": "b.jpg", "hat": 0, "bag": -1}\n'
    return Path(tables.write(folder / "table.jsonl", lines))


def _saved_as(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        data.save(data.load(str(_csv(folder))), folder / name)
        (folder / "tags.csv").unlink()
        return folder / name

    return write


def _merge(folder: Path) -> Path:
    _csv(folder)
    _tags(folder / "other")
    sources = '[[source]]\ndata = "csv:tags.csv"\n\n[[source]]\ndata = "csv:other/tags.csv"\nname = "second"\n'
    text = sources.replace('"csv:tags.csv"', '"csv:tags.csv"\nname = "first"')
    return Path(tables.write(folder / "merge.toml", text))


# By the name of the format, and a word where it has several layouts.
WRITERS: dict[str, Writer] = {
    "csv": _of("csv", _csv),
    "csv tags": _of("csv", _tags),
    "features": _of("features", _features),
    "features compressed": _of("features", _compressed_features),
    "folder": _of("folder", _folder),
    "mulan": _of("mulan", _mulan),
    "merge": _of("merge", _merge),
    "saved": _of("saved", _saved_as("saved.parquet")),
    "saved text": _of("saved", _saved_as("saved.csv")),
    "table": _of("table", _parquet),
    "table lines": _of("table", _json_lines),
    "peta": _of("peta", pedestrians.peta_matlab),
    "peta folders": _of("peta", pedestrians.peta_folders),
    "pa100k": _of("pa100k", pedestrians.pa100k_folder),
    "market1501": _of("market1501", pedestrians.market),
    "dukemtmc": _of("dukemtmc", pedestrians.duke),
    "voc": _of("voc", _voc),
    "voc-lt": _of("voc-lt", _voc_lt),
    "coco": _of("coco", _coco),
    "coco-lt": _coco_lt,
    "wider": _of("wider", lambda folder: attributes.write_wider(folder, "")),
    "vaw": _of("vaw", attributes.write_vaw),
    "vispr": _of("vispr", lambda folder: attributes.write_vispr(folder, "annotations/{part}", "images/{part}")),
    "nus-wide": _of("nus-wide", concepts.nus_wide),
    "cub": _of("cub", concepts.cub),
    "deepfashion": _of("deepfashion", concepts.deepfashion),
    "cifar": _of("cifar", classes.cifar_10),
    "cifar 100": _of("cifar", classes.cifar_100),
    "tiny-imagenet": _of("tiny-imagenet", classes.tiny_imagenet),
    "webdataset": _of("webdataset", _shards),
    "hugging-face": _of("hugging-face", _hugging_face),
    "torchvision": _of("torchvision", _pets),
    "torchvision cars": _of("torchvision", _cars),
}
