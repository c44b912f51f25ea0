"""Whatever happens to the lists of a published data set, there is a table or one line; and each claims its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rarecall.data.formats import FORMATS, recognise
from tests.files import write_image
from tests.published import damaged, png, shard, write
from tests.test_formats_classes import WRITERS, cifar_10, food, image_folder, tiny_imagenet
from tests.test_formats_concepts import cub, deepfashion, nus_wide


def test_each_format_claims_its_own_folder_only(tmp_path: Path) -> None:
    folders = {
        "nus-wide": nus_wide(tmp_path / "1"), "cub": cub(tmp_path / "2"), "deepfashion": deepfashion(tmp_path / "3"),
        "cifar": cifar_10(tmp_path / "4"), "tiny-imagenet": tiny_imagenet(tmp_path / "5"),
        "folder": image_folder(tmp_path / "6"),
        "webdataset": shard(tmp_path / "7/0.tar", [("1.jpg", png(1)), ("1.cls", b"0")]).parent,
    }  # fmt: skip
    food(tmp_path / "8")
    folders["torchvision"] = tmp_path / "8"
    write_image(write(tmp_path / "9/a.jpg", b""), 0, 0)
    ours = [*folders, "hugging-face"]
    for name, folder in folders.items():
        claims = [one for one in ours if FORMATS[one].recognises(folder)]
        assert set(claims) - {"folder"} == {name} - {"folder"}
        assert name == recognise(folder).NAME
    assert [one for one in ours if FORMATS[one].recognises(tmp_path / "9")] == []
    assert [one for one in ours if FORMATS[one].recognises(tmp_path / "9/a.jpg")] == []


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "nus-wide": nus_wide,
    "cub": cub,
    "deepfashion": deepfashion,
    "cifar": cifar_10,
    "tiny-imagenet": tiny_imagenet,
    **{name: writer for name, writer in WRITERS.items() if name not in ("caltech-101", "flowers")},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_whatever_happens_to_a_list_there_is_a_table_or_one_line(tmp_path: Path, name: str) -> None:
    LAYOUTS[name](tmp_path / "d")
    spec = f"{name if name in FORMATS else 'torchvision'}:{tmp_path / 'd'}"
    messages = damaged(spec, tmp_path / "d")
    assert any(str(tmp_path) in message for message in messages)
