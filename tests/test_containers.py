"""Items that lead through archives and end in regions, and archives that are not to be trusted."""

import errno
import io
import os
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from rarecall.data import LabelTable
from rarecall.data.formats import _files, _matlab
from rarecall.data.formats._files import Files
from rarecall.errors import DataError
from rarecall.images import containers
from rarecall.images.containers import Located, UnreadableItem, is_unsafe, members, split_region, with_region
from rarecall.images.decoding import decode, read_image

RNG = np.random.default_rng(3)


def pixels(height: int = 20, width: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def shown(root: Path, item: str) -> np.ndarray:
    image = decode(Located(root, item), (20, 30))
    assert not isinstance(image, str), image
    return np.asarray(image)


def why(root: Path, item: str) -> str:
    reason = decode(Located(root, item), (8, 8))
    assert isinstance(reason, str)
    return reason


# --- where the bytes are ------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_an_image_is_read_from_inside_an_archive(tmp_path, write):
    first, second = pixels(), pixels()
    name = f"images.{write.__name__[-3:]}"
    write(tmp_path / name, {"train/a b,ü.png": png(first), "./test/b.png": png(second)} if write is write_tar else
          {"train/a b,ü.png": png(first), "test/b.png": png(second)})  # fmt: skip
    assert (shown(tmp_path, f"{name}/train/a b,ü.png") == first).all()
    assert (shown(tmp_path, f"{name}/test/b.png") == second).all()
    assert Located(tmp_path, f"{name}/test/b.png").exists()
    assert not Located(tmp_path, f"{name}/test/c.png").exists()
    assert why(tmp_path, f"{name}/test/c.png") == f"not in {name}"


def test_an_archive_below_a_folder_and_a_folder_that_is_named_like_one(tmp_path):
    image = pixels()
    (tmp_path / "deep" / "x.zip").mkdir(parents=True)
    (tmp_path / "deep/x.zip/a.png").write_bytes(png(image))
    write_zip(tmp_path / "deep/y.zip", {"z.tar/a.png": png(image)})
    assert (shown(tmp_path, "deep/x.zip/a.png") == image).all()
    assert (shown(tmp_path, "deep/y.zip/z.tar/a.png") == image).all()


@pytest.mark.parametrize("labels", [1, 2])
def test_a_record_of_cifar(tmp_path, labels):
    images = RNG.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    records = np.concatenate([np.zeros((3, labels), np.uint8), images.reshape(3, -1)], 1)
    (tmp_path / "batch.bin").write_bytes(records.tobytes())
    assert (shown(tmp_path, "batch.bin/2") == images[2].transpose(1, 2, 0)).all()
    assert why(tmp_path, "batch.bin/3") == "no record 3 in batch.bin"
    assert why(tmp_path, "batch.bin/-1") == "no record -1 in batch.bin"
    (tmp_path / "batch.bin").write_bytes(records.tobytes()[:-1])
    assert "not of whole CIFAR records" in why(tmp_path, "batch.bin/0")


def test_a_file_that_changes_is_opened_again(tmp_path):
    first, second = pixels(), pixels(21)
    write_zip(tmp_path / "x.zip", {"a.png": png(first)})
    assert (shown(tmp_path, "x.zip/a.png") == first).all()
    write_zip(tmp_path / "x.zip", {"a.png": png(second), "b.png": png(first)})
    assert (shown(tmp_path, "x.zip/a.png") == second).all()


def _sum(place: tuple[Path, str]) -> int:
    return int(shown(*place).sum())


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_threads_and_forked_processes_read_one_archive_at_once(tmp_path, write):
    images = {f"{number}.png": pixels() for number in range(40)}
    name = f"images.{write.__name__[-3:]}"
    write(tmp_path / name, {item: png(array) for item, array in images.items()})
    places = [(tmp_path, f"{name}/{item}") for item in images] * 3
    wanted = [int(array.sum()) for array in images.values()] * 3
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(_sum, places)) == wanted
    with get_context("fork").Pool(2) as processes:
        assert processes.map(_sum, places, chunksize=1) == wanted


# --- regions ------------------------------------------------------------------------------------------------


def test_a_region_is_what_it_says_and_clipped_to_the_image(tmp_path):
    image = pixels(40, 60)
    (tmp_path / "a.png").write_bytes(png(image))
    assert (shown(tmp_path, "a.png#xywh=5,10,20,12") == image[10:22, 5:25]).all()
    assert (shown(tmp_path, "a.png#xywh=-5,30,20,100") == image[30:, :15]).all()
    assert "lies outside the image" in why(tmp_path, "a.png#xywh=60,0,5,5")
    assert "lies outside the image" in why(tmp_path, "a.png#xywh=3,3,0,5")


def test_a_region_of_a_large_jpeg_is_of_its_own_pixels(tmp_path):
    array = np.zeros((1600, 2400, 3), np.uint8)
    array[800:1200, 600:1200] = 255
    Image.fromarray(array).save(tmp_path / "big.jpg", quality=95)
    region = read_image(Located(tmp_path, "big.jpg#xywh=600,800,600,400"), (16, 16))
    assert not isinstance(region, str)
    assert region.float().mean() > 250


def test_a_region_is_of_the_upright_image(tmp_path):
    image = Image.fromarray(pixels(20, 30))
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90°
    image.save(tmp_path / "a.png", exif=turned)
    upright = shown(tmp_path, "a.png")
    assert upright.shape == (30, 20, 3)
    assert (shown(tmp_path, "a.png#xywh=1,2,10,20") == upright[2:22, 1:11]).all()


@given(st.text(max_size=30), st.tuples(*[st.integers(-999, 9999)] * 2, *[st.integers(0, 9999)] * 2))
def test_a_region_is_found_again(name, box):
    assert split_region(with_region(name, box)) == (name, box)


# --- nothing outside the folder -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item", ["../secret.png", "a/../../secret.png", "/etc/hostname", "..\\secret.png", "C:\\x.png", "a\0b.png"]
)
def test_a_name_that_leads_out_is_refused(tmp_path, item):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(png(pixels()))
    assert is_unsafe(item)
    assert why(tmp_path / "data", item) == "leads out of the data's folder"
    assert not Located(tmp_path / "data", item).exists()
    labels, split = np.ones((1, 1), np.int8), np.array(["train"])
    with pytest.raises(DataError, match="leads out of the folder"):
        LabelTable([item], ["x"], labels, split, "csv:x", tmp_path / "data")


@pytest.mark.parametrize("item", ["a..b.png", "..a/b.png", "a/b../c.png", "a:b.png"])
def test_dots_that_lead_nowhere_are_fine(item):
    assert not is_unsafe(item)


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_not(tmp_path):
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    image = pixels()
    (data / "a.png").write_bytes(png(image))
    (tmp_path / "secret.png").write_bytes(png(image))
    write_zip(tmp_path / "secret.zip", {"a.png": png(image)})
    (data / "deep/in.png").symlink_to(data / "a.png")
    (data / "out.png").symlink_to(tmp_path / "secret.png")
    (data / "folder").symlink_to(tmp_path)
    (data / "out.zip").symlink_to(tmp_path / "secret.zip")
    assert (shown(data, "deep/in.png") == image).all()
    assert Located(data, "deep/in.png").exists()
    for item in ("out.png", "folder/secret.png", "out.zip/a.png"):
        assert why(data, item) == "a link that leads out of the data's folder"
        assert not Located(data, item).exists()
    with pytest.raises(DataError, match="a link that leads out"):
        Files(data).read("out.png")


LONG = "x" * 300


@pytest.mark.parametrize(
    "item",
    [f"{LONG}.png", f"a/{LONG}", f"{LONG}.zip/a.png", f"x.zip/{LONG}", "circle.png", "circle.zip/a.png", "\ud800.png"],
)
def test_a_name_that_no_file_can_have_and_a_link_in_a_circle_are_no_such_file(tmp_path, item):
    write_zip(tmp_path / "x.zip", {"a.png": png(pixels())})
    for name in ("circle.png", "circle.zip"):
        (tmp_path / name).symlink_to(tmp_path / name)
    located = Located(tmp_path, item)
    assert why(tmp_path, item).startswith(("no such file", "not in x.zip"))
    assert not located.exists()
    with pytest.raises(UnreadableItem, match=r"no such file|not in x\.zip"):
        located.digestible()
    reason = decode(tmp_path / item, (8, 8))
    assert isinstance(reason, str)
    assert reason.startswith("no such file")


# --- archives not to be trusted -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_an_archive_with_a_path_that_leads_out_is_refused(tmp_path, write, name):
    file = write(tmp_path / f"x.{write.__name__[-3:]}", {name: b"x"})
    with pytest.raises(UnreadableItem, match="leads out of it"):
        members(file)
    with pytest.raises(DataError, match="leads out of it"):
        Files(file)


def test_a_member_that_claims_to_be_huge_is_not_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 5_000_000)
    assert (tmp_path / "bomb.zip").stat().st_size < 10_000
    monkeypatch.setattr(containers, "LARGEST_MEMBER", 1 << 20)
    with pytest.raises(UnreadableItem, match="would be 5 MiB, more than 1"):
        containers.read_member(tmp_path / "bomb.zip", "a.png", 1 << 20)


def test_what_is_packed_too_tightly_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "SMALL", 1 << 20)
    digits = RNG.integers(48, 58, 3 << 20, dtype=np.uint8).tobytes()
    contents = {"zeros": b"\0" * (3 << 20), "digits": digits, "few": b"\0" * (1 << 20)}
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    source = Files(tmp_path / "x.zip")
    with pytest.raises(DataError, match="zeros: zeros would be more than 1,000 times as large as it is packed"):
        source.read("zeros")
    assert source.read("digits") == digits
    assert source.read("few") == contents["few"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_annotations_in_an_archive_may_be_less_large_than_in_a_folder(tmp_path, monkeypatch, write):
    monkeypatch.setattr(_files, "LARGEST_PACKED", 3 << 20)
    content = b"x" * (4 << 20)
    (tmp_path / "large.txt").write_bytes(content)
    assert Files(tmp_path).read("large.txt") == content
    source = Files(write(tmp_path / f"x.{write.__name__[-3:]}", {"large.txt": content, "less.txt": b"x" * (3 << 20)}))
    assert len(source.read("less.txt")) == 3 << 20
    with pytest.raises(DataError, match=r"large\.txt would be 4 MiB, more than 3"):
        source.read("large.txt")


def test_all_variables_of_a_matlab_file_together_have_a_limit(tmp_path, monkeypatch):
    zeros = np.zeros(60_000, np.uint8)
    savemat(tmp_path / "few.mat", {"a": zeros}, do_compression=True)
    savemat(tmp_path / "many.mat", {"a": zeros, "b": zeros}, do_compression=True)
    monkeypatch.setattr(_matlab, "LARGEST", 1 << 17)
    assert set(Files(tmp_path).matlab("many.mat")) >= {"a", "b"}
    monkeypatch.setattr(_matlab, "LARGEST", 100_000)
    assert (Files(tmp_path).matlab("few.mat")["a"] == 0).all()
    with pytest.raises(DataError, match=r"many\.mat: its variables would unpack to more than"):
        Files(tmp_path).matlab("many.mat")


def test_links_inside_a_tar_are_no_files(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    assert members(tmp_path / "x.tar") == {}
    assert why(tmp_path, "x.tar/a.png") == "not in x.tar"


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_a_damaged_archive_is_one_line(tmp_path, suffix):
    file = tmp_path / f"x{suffix}"
    write = write_zip if suffix == ".zip" else write_tar
    write(file, {"a.png": png(pixels(200, 200)), "b.png": png(pixels(200, 200))})
    whole = file.read_bytes()
    for part in (b"", whole[:100], whole[: len(whole) // 2], b"\0" * 2000, os.urandom(3000)):
        file.write_bytes(part)
        try:
            found = set(members(file))
        except UnreadableItem:
            with pytest.raises(DataError, match=r"is not a readable .*: fetch it again"):
                Files(file)
            found = set()
        assert found <= {"a.png", "b.png"}
        assert isinstance(decode(Located(tmp_path, f"x{suffix}/b.png"), (8, 8)), str)


def test_what_is_compressed_as_a_whole_has_to_be_unpacked(tmp_path):
    file = write_tar(tmp_path / "x.tar.gz", {"a.png": png(pixels())}, "w:gz")
    with pytest.raises(DataError, match=r"compressed as a whole.*: unpack it"):
        Files(file)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"neither a folder nor a \.zip or \.tar"):
        Files(tmp_path / "x.txt")


# --- what is remembered of archives -------------------------------------------------------------------------


class Opened:
    """Counts how often archives are opened, and lets threads meet while one is; the first errors are raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, *errors: Exception) -> None:
        self.times, self.errors, self.open = 0, list(errors), getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.times += 1
        time.sleep(0.05)
        if self.errors:
            raise self.errors.pop(0)
        return self.open(*arguments, **options)


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_threads_index_an_archive_once(tmp_path, monkeypatch, write):
    file = write(tmp_path / f"x.{write.__name__[-3:]}", {"a.png": png(pixels())})
    opened = Opened(monkeypatch, *((zipfile, "ZipFile") if write is write_zip else (tarfile, "open")))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(members, [file] * 8)) == [{"a.png": len(png_of(file))}] * 8
    assert opened.times == 1


def png_of(file: Path) -> bytes:
    data = containers.read_member(file, "a.png")
    assert isinstance(data, bytes)
    return data


def test_a_forked_process_knows_the_index_of_its_parent(tmp_path, monkeypatch):
    image = pixels()
    write_tar(tmp_path / "x.tar", {"a.png": png(image)})
    assert (shown(tmp_path, "x.tar/a.png") == image).all()
    Opened(monkeypatch, tarfile, "open", *[AssertionError("opened again")] * 9)
    with get_context("fork").Pool(1) as processes:
        assert processes.apply_async(_sum, [(tmp_path, "x.tar/a.png")]).get(30) == image.sum()


def test_a_process_that_is_forked_while_a_thread_reads_an_index_does_not_wait_for_it(tmp_path):
    image = pixels()
    write_tar(tmp_path / "x.tar", {"a.png": png(image)})
    with containers._tar._lock, get_context("fork").Pool(1) as processes:
        assert processes.apply_async(_sum, [(tmp_path, "x.tar/a.png")]).get(30) == image.sum()


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_a_damaged_archive_is_opened_once_and_again_when_it_changes(tmp_path, monkeypatch, suffix):
    file = tmp_path / f"x{suffix}"
    file.write_bytes(b"no archive" * 100)
    opened = Opened(monkeypatch, *((zipfile, "ZipFile") if suffix == ".zip" else (tarfile, "open")))
    reasons = {why(tmp_path, f"x{suffix}/{name}.png") for name in "abc"}
    assert len(reasons) == 1
    assert "is not a readable" in reasons.pop()
    assert opened.times == 1
    monkeypatch.undo()
    image = pixels()
    (write_zip if suffix == ".zip" else write_tar)(file, {"a.png": png(image)})
    assert (shown(tmp_path, f"x{suffix}/a.png") == image).all()


def test_what_the_system_refuses_once_is_tried_again(tmp_path, monkeypatch):
    image = pixels()
    write_tar(tmp_path / "x.tar", {"a.png": png(image)})
    Opened(monkeypatch, tarfile, "open", OSError(errno.EMFILE, "Too many open files"))
    assert "Too many open files" in why(tmp_path, "x.tar/a.png")
    assert (shown(tmp_path, "x.tar/a.png") == image).all()


def test_what_is_remembered_is_bounded_and_the_last_is_always_kept():
    read: list[int] = []

    def listed(size: int) -> range:
        read.append(size)
        return range(size)

    remembered = containers._Remembered(listed, 10, len)
    for size in (4, 6, 4, 6, 1, 6, 4, 50, 50):
        assert len(remembered(size)) == size
    assert read == [4, 6, 1, 4, 50]  # 1 drove out 4, and 4 drove out 6


# --- Parquet ------------------------------------------------------------------------------------------------


def write_parquet(path: Path, images: list[bytes], **options: Any) -> None:
    cells = [{"bytes": image, "path": None} for image in images]
    other = [b"x" * 3_000_000, *[b""] * (len(images) - 1)]
    pq.write_table(pyarrow.table({"image": cells, "other": other}), path, **options)


def test_a_row_of_any_group_is_found(tmp_path):
    images = [pixels() for _ in range(70)]
    write_parquet(tmp_path / "x.parquet", [png(image) for image in images], row_group_size=33)
    for row in (0, 15, 16, 32, 33, 65, 66, 69):
        assert (shown(tmp_path, f"x.parquet/{row}/image") == images[row]).all()
    assert why(tmp_path, "x.parquet/70/image") == "no row 70 in x.parquet"
    assert why(tmp_path, "x.parquet/1/photo") == "no column 'photo' in x.parquet"


def test_empty_groups_of_rows_are_passed_over(tmp_path):
    images = [pixels(), pixels()]
    parts = [pyarrow.table({"image": pyarrow.array([png(image)])}) for image in images]
    with pq.ParquetWriter(tmp_path / "x.parquet", parts[0].schema) as writer:
        for part in (parts[0][:0], parts[0], parts[0][:0], parts[1], parts[0][:0]):
            writer.write_table(part)
    assert pq.read_metadata(tmp_path / "x.parquet").num_row_groups == 5
    assert [(shown(tmp_path, f"x.parquet/{row}/image") == images[row]).all() for row in (0, 1)] == [True, True]
    assert why(tmp_path, "x.parquet/2/image") == "no row 2 in x.parquet"


def test_a_group_that_says_that_it_is_too_large_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "LARGEST_GROUP", 2 << 20)
    write_parquet(tmp_path / "x.parquet", [b"\0" * 1_500_000 + bytes([number]) for number in range(3)])
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    assert why(tmp_path, "x.parquet/0/image") == "column 'image' of row group 0 would be 4 MiB, more than 2"


def test_a_group_that_becomes_larger_than_it_says_is_not_decoded_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "LARGEST_GROUP", 2 << 20)
    write_parquet(tmp_path / "x.parquet", [b"\0" * 100_000] * 500)  # kept once, and meant 500 times
    metadata = pq.read_metadata(tmp_path / "x.parquet").row_group(0)
    assert containers._unpacked_size(metadata, "image") < 1 << 20
    assert "column 'image' of row group 0 would be 3 MiB, more than 2" in why(tmp_path, "x.parquet/0/image")


def test_threads_decode_a_group_once(tmp_path, monkeypatch):
    images = [pixels() for _ in range(20)]
    write_parquet(tmp_path / "x.parquet", [png(image) for image in images])
    opened = Opened(monkeypatch, pq, "ParquetFile")
    places = [(tmp_path, f"x.parquet/{row}/image") for row in range(20)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(_sum, places)) == [image.sum() for image in images]
    assert opened.times == 1


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_damaged_table_is_one_line(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_bytes(b"PAR1" * 100)
    for _ in range(2):
        assert "is not a readable" in why(tmp_path, f"x{suffix}/0/image")


# --- sources ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_source_is_the_same_packed_or_not(tmp_path, kind):
    files = {
        "top/a/1.jpg": b"1",
        "top/a/.hidden.jpg": b"",
        "top/b.txt": "\ufeffx y\n\n z \n".encode(),
        "top/a/2.PNG": b"2",
    }
    if kind == "folder":
        for name, data in files.items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(data)
        source = Files(tmp_path / "set")
    else:
        source = Files((write_zip if kind == "zip" else write_tar)(tmp_path / f"set.{kind}", files))
    below = source.below("top")
    assert below.files() == ["a/1.jpg", "a/2.PNG"]
    assert below.files("a") == below.files()
    assert list(below.lines("b.txt")) == [(1, "x y"), (3, "z")]
    assert below.has("a")
    assert below.has("b.txt")
    assert not below.has("c")
    assert below.need("c", "a/1.jpg") == "a/1.jpg"
    located = Located(below.root, below.item("a/1.jpg"))
    assert located.digestible() == b"1"
    with pytest.raises(DataError, match="no c or d in it"):
        below.need("c", "d")
    with pytest.raises(DataError):
        below.read("nothing.txt")


def test_a_name_that_no_file_can_have_is_no_file(tmp_path):
    source = Files(tmp_path)
    long = "x" * 5000
    assert not source.has(long)
    assert source.first([long]) is None
    for name, message in ((long, "no such file"), (f"../{long}", "leads out of it")):
        with pytest.raises(DataError, match=message) as caught:
            source.read(name)
        assert len(str(caught.value)) < 1000


def test_annotations_that_are_not_what_they_should_be(tmp_path):
    source = Files(tmp_path)
    (tmp_path / "latin.txt").write_bytes("ü".encode("latin-1"))
    (tmp_path / "long.txt").write_text("x" * 10_000_000)
    (tmp_path / "bad.json").write_text('{"a": [1, 2')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "bad.xml").write_text("<a><b></a>")
    (tmp_path / "bomb.xml").write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>')
    (tmp_path / "wide.xml").write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>', "utf-16")
    (tmp_path / "parameter.xml").write_text('<!DOCTYPE a [<!ENTITY % b SYSTEM "file:///etc/hostname"> %b;]><a/>')
    (tmp_path / "nowhere.xml").write_text('<?xml version="1.0" encoding="nowhere"?><a/>')
    (tmp_path / "wrong.xml").write_text('<?xml version="1.0" encoding="shift_jis"?><a/>')
    (tmp_path / "bad.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"\0" * 200)
    for call, message in (
        (lambda: source.text("latin.txt"), "byte 0 is not UTF-8"),
        (lambda: list(source.lines("long.txt")), "line 1: 10,000,000 characters"),
        (lambda: source.json("bad.json"), "not the JSON that is expected here"),
        (lambda: source.json("deep.json"), "not the JSON that is expected here"),
        (lambda: source.xml("bad.xml"), "not readable as XML"),
        (lambda: source.xml("bomb.xml"), "declares entities"),
        (lambda: source.xml("wide.xml"), "declares entities"),
        (lambda: source.xml("parameter.xml"), "declares entities"),
        (lambda: source.xml("nowhere.xml"), "not readable as XML: unknown encoding"),
        (lambda: source.xml("wrong.xml"), "not readable as XML"),
        (lambda: source.matlab("bad.mat"), "not a readable MATLAB file"),
        (lambda: source.read("../x"), "leads out of it"),
    ):
        with pytest.raises(DataError, match=message):
            call()


def test_xml_of_any_encoding_without_entities_is_read(tmp_path):
    for encoding in ("utf-8", "utf-16", "utf-8-sig", "iso-8859-1"):
        declared = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding.startswith("iso") else ""
        (tmp_path / "a.xml").write_text(f"{declared}<!DOCTYPE a><a>grün</a>", encoding)
        assert Files(tmp_path).xml("a.xml").text == "grün"


def test_fractions_of_pixels_are_rounded_and_other_regions_are_named(tmp_path):
    image = pixels(40, 60)
    (tmp_path / "a.png").write_bytes(png(image))
    assert (shown(tmp_path, "a.png#xywh=5.2,9.8,20.0,12.4") == image[10:22, 5:25]).all()
    for region in ("a,b", "percent:1,2,3,4", "1,2,3", "1,2,3,4,5"):
        assert why(tmp_path, f"a.png#xywh={region}") == "its region is not four numbers: left, top, width and height"
