"""One label for each image: CIFAR, Tiny ImageNet, folders and the layouts of torchvision."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from rarecall import data
from rarecall.data.formats import cifar, recognise, transfer
from rarecall.errors import OptionError
from rarecall.images.decoding import decode
from tests.published import is_grey, photo, png, refused, shard, write, zipped

# --- CIFAR -------------------------------------------------------------------------------------------------


def records(*labels: tuple[int, ...]) -> bytes:
    """Records with these labels; the red of each is 10 for every row, its green 100, its blue 200."""
    pixels = [np.full(1024, level, np.uint8).tobytes() for level in (100, 200)]
    return b"".join(
        bytes(codes) + np.full(1024, 10 * row, np.uint8).tobytes() + b"".join(pixels)
        for row, codes in enumerate(labels)
    )


def cifar_10(folder: Path) -> Path:
    """The binary version with 5 images."""
    write(folder / "batches.meta.txt", "cat\ndog\nowl\n\n")
    write(folder / "data_batch_1.bin", records((2,), (0,)))
    write(folder / "data_batch_2.bin", records((1,)))
    write(folder / "test_batch.bin", records((0,), (2,)))
    return folder


def cifar_100(folder: Path) -> Path:
    """The binary version with 3 images."""
    write(folder / "coarse_label_names.txt", "pets\nbirds\n")
    write(folder / "fine_label_names.txt", "cat\ndog\nowl\n")
    write(folder / "train.bin", records((0, 1), (1, 2)))
    write(folder / "test.bin", records((0, 0)))
    return folder


@pytest.mark.parametrize("top", ["", "cifar-10-batches-bin"])
def test_cifar_10_is_read_record_by_record(tmp_path: Path, top: str) -> None:
    cifar_10(tmp_path / "c" / top)
    table = data.load(str(tmp_path / "c"))
    assert table.source.startswith("cifar:")
    assert list(table.names) == ["cat", "dog", "owl"]
    assert table.labels.argmax(1).tolist() == [2, 0, 1, 0, 2]
    assert table.labels.sum(1).tolist() == [1] * 5
    assert table.labels.min() == 0
    assert table.split.tolist() == ["train"] * 3 + ["test"] * 2
    assert [item.removeprefix(f"{top}/") for item in table.items[1:3]] == ["data_batch_1.bin/1", "data_batch_2.bin/0"]
    image = decode(table.image(1), (32, 32))
    assert not isinstance(image, str)
    assert image.getpixel((5, 5)) == (10, 100, 200)


def test_cifar_100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    folder = cifar_100(tmp_path / "cifar-100-binary")
    fine, coarse = data.load(str(folder)), data.load(str(folder), labels="coarse")
    assert (list(fine.names), fine.labels.argmax(1).tolist()) == (["cat", "dog", "owl"], [1, 2, 0])
    assert (list(coarse.names), coarse.labels.argmax(1).tolist()) == (["pets", "birds"], [0, 1, 0])
    assert fine.columns["coarse"].tolist() == ["pets", "birds", "pets"]
    with pytest.raises(OptionError, match="CIFAR-10 has one kind of labels"):
        data.load(str(cifar_10(tmp_path / "ten")), labels="coarse")


def test_the_pickled_version_of_cifar_is_refused_and_the_other_named(tmp_path: Path) -> None:
    for file in ("data_batch_1", "batches.meta"):
        write(tmp_path / "py/cifar-10-batches-py" / file, b"cos\nsystem\n(S'touch ran'\ntR.")
    for file in ("train", "test", "meta"):
        write(tmp_path / "hundred" / file, b"\x80\x02")
    for folder in ("py", "hundred"):
        refused(tmp_path / folder, "fetch the binary version .cifar-10-binary.tar.gz or cifar-100-binary.tar.gz.")


BAD_CIFAR: dict[str, tuple[str, bytes, str]] = {
    "a cut file": ("test_batch.bin", records((0,))[:-5], "3,068 bytes are not records of 3,073"),
    "an empty file": ("test_batch.bin", b"", "0 bytes are not records"),
    "too few names": ("batches.meta.txt", b"cat\ndog\n", "2 names, but a record has class 2"),
    "names in another encoding": ("batches.meta.txt", b"caf\xe9\n", "byte 3 is not UTF-8"),
    "a name twice": ("batches.meta.txt", b"cat\ncat\nowl\n", "class names stand twice: cat"),
}


@pytest.mark.parametrize("case", BAD_CIFAR)
def test_a_bad_cifar_is_named(tmp_path: Path, case: str) -> None:
    file, content, message = BAD_CIFAR[case]
    write(cifar_10(tmp_path / "c") / file, content)
    refused(tmp_path / "c", message)


def test_cifar_is_read_from_its_folder_only(tmp_path: Path) -> None:
    packed = zipped(cifar_10(tmp_path / "c"))
    refused(f"cifar:{packed}", "images are records of its files, so it is read from its folder: unpack it")
    (tmp_path / "e").mkdir()
    refused(f"cifar:{tmp_path / 'e'}", "no batches.meta.txt or fine_label_names.txt")
    write(tmp_path / "e/batches.meta.txt", "cat\n")
    refused(tmp_path / "e", "none of data_batch_1.bin, ")
    assert cifar.recognises(tmp_path / "c")
    assert not cifar.recognises(tmp_path)


# --- Tiny ImageNet -----------------------------------------------------------------------------------------


def tiny_imagenet(folder: Path) -> Path:
    """Its layout with 3 classes, two of which share their first word."""
    write(folder / "wnids.txt", "n03\nn01\nn02\n")
    write(folder / "words.txt", "n00\tentity\nn01\tcrane\nn02\tgoldfish, Carassius auratus\nn03\tcrane, machine\n")
    for place, name in enumerate(("n01", "n02", "n03")):
        photo(folder / f"train/{name}/images/{name}_0.JPEG", place)
        write(folder / f"train/{name}/{name}_boxes.txt", f"{name}_0.JPEG\t0\t0\t5\t5\n")
    write(folder / "val/val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t5\t5\nval_1.JPEG\tn01\t0\t0\t5\t5\n")
    for number in range(2):
        photo(folder / f"val/images/val_{number}.JPEG", 9)
        photo(folder / f"test/images/test_{number}.JPEG", 8)
    return folder


def test_tiny_imagenet_is_read(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    table = data.load(str(folder))
    assert table.source.startswith("tiny-imagenet:")
    assert list(table.names) == ["crane (n01)", "goldfish", "crane (n03)"]
    assert table.labels.argmax(1).tolist() == [0, 1, 2, 1, 0]
    assert table.labels.sum(1).tolist() == [1] * 5
    assert table.split.tolist() == ["train"] * 3 + ["val"] * 2
    assert table.columns["wnid"].tolist() == ["n01", "n02", "n03", "n02", "n01"]
    assert table.items[3] == "val/images/val_0.JPEG"
    assert any("2 test images have no labels" in note for note in table.notes)
    assert data.load(str(folder), val="test").split.tolist() == ["train"] * 3 + ["test"] * 2
    assert list(data.load(str(folder), names="wnid").names) == ["n01", "n02", "n03"]
    packed = data.load(str(zipped(folder, "tiny-imagenet-200/")))
    assert packed.labels.tolist() == table.labels.tolist()
    assert is_grey(packed, 3, 9)


def test_tiny_imagenet_with_val_sorted_into_classes(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path / "t")
    shutil.rmtree(folder / "val")
    photo(folder / "val/n02/images/val_0.JPEG")
    photo(folder / "val/n01/val_1.JPEG")
    (folder / "words.txt").unlink()
    table = data.load(str(folder))
    assert dict(zip(table.items, table.columns["wnid"], strict=True))["val/n02/images/val_0.JPEG"] == "n02"
    assert dict(zip(table.items, table.columns["wnid"], strict=True))["val/n01/val_1.JPEG"] == "n01"
    assert list(table.names) == ["n01", "n02", "n03"]


BAD_TINY: dict[str, tuple[str, str, str]] = {
    "an unknown class": ("val/val_annotations.txt", "val_0.JPEG\tn99\t0\t0\t5\t5\n", "'n99' is none of its 3 classes"),
    "no class": ("val/val_annotations.txt", "val_0.JPEG\n", "line 1: no class after the image"),
    "an image twice": ("val/val_annotations.txt", "a.JPEG\tn01\na.JPEG\tn02\n", "line 2: 'a.JPEG' stands twice"),
    "no classes": ("wnids.txt", "\n", "wnids.txt: the file is empty"),
    "a class that is not listed": ("wnids.txt", "n01\nn02\n", "'n03' is none of its 2 classes"),
    "a path that leads out": ("val/val_annotations.txt", "../../../a.JPEG\tn01\n", "leads out of"),
}


@pytest.mark.parametrize("case", BAD_TINY)
def test_a_bad_tiny_imagenet_is_named(tmp_path: Path, case: str) -> None:
    file, content, message = BAD_TINY[case]
    write(tiny_imagenet(tmp_path / "t") / file, content)
    refused(tmp_path / "t", message)


# --- folders of images, packed -----------------------------------------------------------------------------


def image_folder(folder: Path) -> Path:
    """Two classes in two parts."""
    for level, name in enumerate(("train/cat/1.jpg", "train/dog/deep/2.jpg", "test/dog/3 b.jpg")):
        photo(folder / name, level)
    return folder


@pytest.mark.parametrize("top", ["", "photos/"])
def test_a_folder_of_images_stays_packed(tmp_path: Path, top: str) -> None:
    folder = image_folder(tmp_path / "f")
    table, packed = data.load(str(folder)), data.load(str(zipped(folder, top)))
    assert packed.source.startswith("folder:")
    assert list(packed.items) == [f"f.zip/{top}{item}" for item in table.items]
    assert (list(packed.names), packed.labels.tolist()) == (["cat", "dog"], [[0, 1], [1, 0], [0, 1]])
    assert packed.split.tolist() == ["test", "train", "train"]
    assert is_grey(packed, 0, 2)
    tarred = shard(tmp_path / "g.tar", [(f"{top}{name}", png(5)) for name in table.items])
    assert data.load(str(tarred)).labels.tolist() == table.labels.tolist()


def test_folders_called_train_test_and_meta_are_no_pickles(tmp_path: Path) -> None:
    image_folder(tmp_path / "f")
    (tmp_path / "f/meta").mkdir()
    assert not cifar.recognises(tmp_path / "f")


def test_class_folders_without_parts_and_an_empty_class(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat-a/1.jpg", "dog/._1.jpg"):
        photo(tmp_path / "f" / name)
    table = data.load(str(tmp_path / "f"))
    assert list(table.names) == ["cat", "cat-a", "dog"]
    assert list(table.items) == ["cat/1.jpg", "cat-a/1.jpg"]
    assert set(table.split) == {"train"}


def test_damaged_and_compressed_archives_of_images_are_named(tmp_path: Path) -> None:
    packed = zipped(image_folder(tmp_path / "f"))
    packed.write_bytes(packed.read_bytes()[:-30])
    refused(packed, "f.zip is not a readable zip")
    refused(f"folder:{write(tmp_path / 'f.tar.gz', b'x')}", "compressed as a whole")
    escaping = shard(tmp_path / "e.tar", [("cat/../../1.jpg", png(1))])
    refused(escaping, "leads out of it")
    shard(tmp_path / "n.tar", [("1.jpg", png(1))])
    refused(f"folder:{tmp_path / 'n.tar'}", "no image in any class folder")


def test_the_real_photos_of_cifar_load_packed(data_folder: Path) -> None:
    table = data.load(str(data_folder / "cifar10.zip"))
    assert len(table) == 60_000
    assert table.labels.sum(0).tolist() == [6_000] * 10
    assert [len(table.part(part)) for part in ("train", "val", "test")] == [50_000, 0, 10_000]
    first = table.items.index("cifar10.zip/train/truck/0000.jpg")
    assert table.labels[first].argmax() == table.names.index("truck")
    assert not isinstance(decode(table.image(first), (32, 32)), str)


# --- torchvision's layouts ---------------------------------------------------------------------------------


def aircraft(root: Path) -> list[tuple[str, str, str]]:
    """Write it; its rows: item, class, part."""
    top = root / "fgvc-aircraft-2013b/data"
    for name in ("variants", "families", "manufacturers"):
        write(top / f"{name}.txt", "Zeppelin NT\nA 300\n")
    rows = []
    for number, part in enumerate(("train", "val", "test")):
        write(top / f"images_variant_{part}.txt", f"000000{number} A 300\n")
        write(top / f"images_family_{part}.txt", f"000000{number} Zeppelin NT\n")
        rows.append((f"fgvc-aircraft-2013b/data/images/000000{number}.jpg", "A 300", part))
    return rows


def caltech(root: Path) -> list[tuple[str, str, str]]:
    """Write it, with a background that is no class and a file that is no image."""
    top = "caltech101/101_ObjectCategories"
    for name in ("crab/image_0001.jpg", "ant/image_0001.jpg", "ant/image_0002.jpg", "BACKGROUND_Google/image_0001.jpg"):
        photo(root / top / name)
    write(root / top / "crab/notes.txt", "")
    return [(f"{top}/{name}", name[:-15], "train") for name in ("ant/image_0001.jpg", "ant/image_0002.jpg",
                                                                "crab/image_0001.jpg")]  # fmt: skip


def cars(root: Path) -> list[tuple[str, str, str]]:
    """Write it."""
    top = root / "stanford_cars"
    (top / "devkit").mkdir(parents=True)
    (top / "cars_train").mkdir()
    (top / "cars_test").mkdir()
    kind = [("fname", object), ("class", object)]
    savemat(top / "devkit/cars_meta.mat", {"class_names": np.array(["Audi A", "BMW B"], object)})
    savemat(
        top / "devkit/cars_train_annos.mat",
        {"annotations": np.array([("00001.jpg", 2), ("00002.jpg", 1)], dtype=kind)},
    )
    savemat(
        top / "cars_test_annos_withlabels.mat",
        {"annotations": np.array([("00001.jpg", 1), ("00002.jpg", 2)], dtype=kind)},
    )
    return [
        ("stanford_cars/cars_train/00001.jpg", "BMW B", "train"),
        ("stanford_cars/cars_train/00002.jpg", "Audi A", "train"),
        ("stanford_cars/cars_test/00001.jpg", "Audi A", "test"),
        ("stanford_cars/cars_test/00002.jpg", "BMW B", "test"),
    ]


def dtd(root: Path) -> list[tuple[str, str, str]]:
    """Write it; a part does not hold all classes."""
    rows = []
    for part, names in (("train", ["woven/w_1.jpg"]), ("val", ["dotted/d_1.jpg"]), ("test", ["woven/w_2.jpg"])):
        write(root / f"dtd/dtd/labels/{part}1.txt", "\n".join(names) + "\n")
        rows += [(f"dtd/dtd/images/{name}", name.partition("/")[0], part) for name in names]
    (root / "dtd/dtd/images").mkdir()
    return rows


def flowers(root: Path) -> list[tuple[str, str, str]]:
    """Write it. The loader checks the sums of the owners' files; the test says that they are right."""
    top = root / "flowers-102"
    (top / "jpg").mkdir(parents=True)
    savemat(top / "imagelabels.mat", {"labels": np.array([[102, 1, 2, 1, 1, 1]])})
    savemat(top / "setid.mat", {"trnid": [[6, 1]], "valid": [[2, 5]], "tstid": [[3, 4]]})
    names = dict.fromkeys(range(1, 7), "pink primrose") | {1: "blackberry lily", 3: "hard-leaved pocket orchid"}
    order = [(6, "train"), (1, "train"), (2, "val"), (5, "val"), (3, "test"), (4, "test")]
    return [(f"flowers-102/jpg/image_{number:05d}.jpg", names[number], part) for number, part in order]


def food(root: Path) -> list[tuple[str, str, str]]:
    """Write it."""
    top = root / "food-101"
    (top / "images").mkdir(parents=True)
    write(top / "meta/train.json", json.dumps({"waffles": ["waffles/1"], "pho": ["pho/7"]}))
    write(top / "meta/test.json", json.dumps({"waffles": ["waffles/2"], "pho": []}))
    return [
        ("food-101/images/waffles/1.jpg", "waffles", "train"),
        ("food-101/images/pho/7.jpg", "pho", "train"),
        ("food-101/images/waffles/2.jpg", "waffles", "test"),
    ]


def pets(root: Path) -> list[tuple[str, str, str]]:
    """Write it, without the second of its classes."""
    top = root / "oxford-iiit-pet"
    (top / "images").mkdir(parents=True)
    write(top / "annotations/trainval.txt", "great_pyrenees_10 3 2 1\nAbyssinian_1 1 1 1\n")
    write(top / "annotations/test.txt", "great_pyrenees_2 3 2 1\n")
    return [
        ("oxford-iiit-pet/images/great_pyrenees_10.jpg", "Great Pyrenees", "train"),
        ("oxford-iiit-pet/images/Abyssinian_1.jpg", "Abyssinian", "train"),
        ("oxford-iiit-pet/images/great_pyrenees_2.jpg", "Great Pyrenees", "test"),
    ]


def sun(root: Path) -> list[tuple[str, str, str]]:
    """Write it."""
    write(root / "SUN397/ClassName.txt", "/a/abbey\n/c/cavern/indoor\n")
    for name in ("c/cavern/indoor/sun_b.jpg", "a/abbey/sun_a.jpg"):
        photo(root / "SUN397" / name)
    return [
        ("SUN397/a/abbey/sun_a.jpg", "abbey", "train"),
        ("SUN397/c/cavern/indoor/sun_b.jpg", "cavern/indoor", "train"),
    ]


WRITERS = {
    "aircraft": aircraft, "caltech-101": caltech, "cars": cars, "dtd": dtd,
    "flowers": flowers, "food": food, "pets": pets, "sun": sun,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_the_layouts_of_torchvision_are_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.Flowers102._check_integrity", lambda _: True)
    rows = WRITERS[name](tmp_path)
    table = data.load(str(tmp_path))
    assert table.source.startswith("torchvision:")
    classes = [table.names[column] for column in table.labels.argmax(1)]
    assert list(zip(table.items, classes, table.split, strict=True)) == rows
    assert table.labels.sum(1).tolist() == [1] * len(rows)
    assert table.labels.min() == 0
    folder = tmp_path / transfer.DATASETS[name].folder
    below = data.load(str(folder), dataset=name)
    assert list(below.items) == [item.partition("/")[2] for item, _, _ in rows]
    assert recognise(folder).NAME == "torchvision"


def test_options_of_torchvisions_layouts(tmp_path: Path) -> None:
    aircraft(tmp_path)
    assert data.load(str(tmp_path)).labels.argmax(1).tolist() == [1, 1, 1]
    assert data.load(str(tmp_path), level="family").labels.argmax(1).tolist() == [0, 0, 0]
    with pytest.raises(OptionError, match="partition is an option of DTD"):
        data.load(str(tmp_path), partition="2")
    assert len(data.load(str(tmp_path), partition=1)) == 3
    with pytest.raises(OptionError, match="unknown value of dataset 'planes'"):
        data.load(str(tmp_path), dataset="planes")
    dtd(tmp_path)
    refused(tmp_path, "holds aircraft, dtd: name one with dataset")
    assert len(data.load(str(tmp_path), dataset="dtd")) == 3
    refused(tmp_path, "DTD cannot be read .FileNotFoundError", dataset="dtd", partition="2")
    refused(tmp_path, "no food-101/meta/train.json in it", dataset="food")


def test_an_absolute_path_in_a_list_leads_out(tmp_path: Path) -> None:
    pets(tmp_path)
    listed = next(tmp_path.rglob("annotations/test.txt"))
    listed.write_text(f"/etc/{listed.read_text()}")
    refused(tmp_path, "'/etc/.*jpg' leads out of it")


def test_damaged_lists_of_torchvisions_layouts_are_named(tmp_path: Path) -> None:
    pets(tmp_path)
    write(tmp_path / "oxford-iiit-pet/annotations/test.txt", "great_pyrenees_2\n")
    refused(tmp_path, "OxfordIIITPet cannot be read .ValueError")
    shutil.rmtree(tmp_path / "oxford-iiit-pet")
    flowers(tmp_path)
    refused(tmp_path, "Flowers102 cannot be read .RuntimeError: Dataset not found or corrupted")
    shutil.rmtree(tmp_path / "flowers-102")
    cars(tmp_path)
    savemat(tmp_path / "stanford_cars/devkit/cars_meta.mat", {"class_names": np.array(["Audi A"], object)})
    refused(tmp_path, "StanfordCars cannot be read")
    shutil.rmtree(tmp_path / "stanford_cars")
    food(tmp_path)
    write(tmp_path / "food-101/meta/train.json", json.dumps({"x": ["../../../etc/passwd"]}))
    refused(tmp_path, "leads out of")
    refused(f"torchvision:{tmp_path / 'food-101/meta'}", "torchvision expects the official names")


BITS = """
import sys
from pathlib import Path
from torchvision import datasets
from rarecall import data
from rarecall.errors import DataError
datasets.Flowers102._check_integrity = lambda _: True
refused = 0
for name in sys.argv[2:]:
    file = Path(sys.argv[1]) / name
    whole = file.read_bytes()
    for place in range(128, len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1:])
        try:
            data.load(sys.argv[1])
        except DataError as error:
            refused += 1
            assert "\\n" not in str(error)
    file.write_bytes(whole)
print(refused > 0)
"""


@pytest.mark.parametrize("name", ["cars", "flowers"])
def test_a_flipped_bit_in_a_matlab_file_is_one_line_and_no_crash(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    top, files = {
        "cars": ("stanford_cars", ["devkit/cars_train_annos.mat", "devkit/cars_meta.mat"]),
        "flowers": ("flowers-102", ["imagelabels.mat", "setid.mat"]),
    }[name]
    listed = [f"{top}/{file}" for file in files]
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", BITS, str(tmp_path), *listed], capture_output=True,
                           text=True, check=False)  # fmt: skip
    assert (found.returncode, found.stdout.strip()) == (0, "True"), found.stderr


def test_a_damaged_list_of_cars_is_named(tmp_path: Path) -> None:
    cars(tmp_path)
    file = tmp_path / "stanford_cars/devkit/cars_train_annos.mat"
    whole = bytearray(file.read_bytes())
    assert whole[272] == 0x10
    whole[272] = 0x30
    script = f"from rarecall import data; data.load({str(tmp_path)!r})"  # it would end the tests' process as well
    file.write_bytes(whole)
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "cars_train_annos.mat: not a readable MATLAB file (damaged)" in found.stderr
