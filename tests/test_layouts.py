"""What holds of every format: it is recognised, documented, and says where its data come from."""

import re
import zipfile
from pathlib import Path

import pytest

from rarecall import data
from rarecall.data.formats import FORMATS, recognise
from tests.damage import check_table
from tests.files import write_image
from tests.layouts import WRITERS

DOCS = Path(__file__).parents[1] / "docs"
# These are another format's folder, read in another way, and so have to be named.
NAMED = {"voc-lt": "voc", "coco-lt": "coco"}
OWN = {"csv", "features", "folder", "mulan", "merge", "saved", "table", "webdataset", "hugging-face", "torchvision"}


def test_every_format_has_a_layout():
    assert {name.partition(" ")[0] for name in WRITERS} == set(FORMATS)


@pytest.mark.parametrize("layout", WRITERS)
def test_each_format_recognises_its_own_files(layout, tmp_path):
    (tmp_path / "set").mkdir()
    spec, options = WRITERS[layout](tmp_path / "set")
    name, _, path = spec.partition(":")
    assert NAMED.get(name, name) == recognise(Path(path)).NAME
    named = data.load(spec, **options)
    check_table(named)
    if name not in NAMED:
        found = data.load(path, **options)
        assert (found.items, found.labels.tolist()) == (named.items, named.labels.tolist())


@pytest.mark.parametrize("layout", WRITERS)
def test_reading_leaves_the_folder_as_it_is(layout, tmp_path):
    (tmp_path / "set").mkdir()
    spec, options = WRITERS[layout](tmp_path / "set")
    before = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in sorted((tmp_path / "set").rglob("*"))}
    data.load(spec, **options)
    after = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in sorted((tmp_path / "set").rglob("*"))}
    assert after == before


@pytest.mark.parametrize("name", sorted(set(FORMATS) - OWN))
def test_a_published_data_set_says_where_it_comes_from_and_what_it_counts(name):
    form = FORMATS[name]
    assert form.HOME.startswith("http")
    assert form.LICENCE
    assert form.PUBLISHED


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_has_its_section(name):
    pages = "\n".join(page.read_text() for page in [DOCS / "data.md", *sorted((DOCS / "datasets").glob("*.md"))])
    assert re.search(rf"^(#+|\|) .*`{name}`", pages, re.MULTILINE)


def test_folders_below_a_class_are_named_and_wrappers_are_passed_over(tmp_path):
    for name in ("cat/a.png", "dogs/big/b.png", "dogs/small/c.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "set" / name, 1, 0)
    table = data.load(str(tmp_path / "set"))
    assert list(table.names) == ["cat", "dogs"]
    assert table.notes == ("1 class holds images in further folders, which are no classes of their own (dogs)",)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.png")):
            archive.write(file, f"a/b/{file.relative_to(tmp_path / 'set').as_posix()}")
    packed = data.load(str(tmp_path / "set.zip"))
    assert (packed.names, packed.labels.tolist()) == (table.names, table.labels.tolist())
