"""Taxonomies, merging, and the format that lists sources."""

import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from rarecall import data
from rarecall.data import taxonomy
from rarecall.data.formats import market1501, merged, peta, recognise
from rarecall.data.merging import merge
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError
from rarecall.images.decoding import decode
from tests.files import write_image

TWENTY = [
    "upperTshirt", "upperJacket", "upperPattern", "upperLongSleeve", "upperShortSleeve", "upperDark", "upperBright",
    "upperLight", "lowerTrousers", "lowerShorts", "lowerJeans", "lowerDark", "lowerBlue", "lowerLight", "hasHat",
    "hasSunglasses", "hasMuffler", "hasBackpack", "footwearDark", "footwearWhite",
]  # fmt: skip
COLOURS = ("Black", "Blue", "Brown", "Green", "Grey", "Orange", "Pink", "Purple", "Red", "White", "Yellow")
PETA_WORN = [
    "upperBodyTshirt", "upperBodyJacket", "upperBodyLogo", "upperBodyPlaid", "upperBodyThinStripes",
    "upperBodyThickStripes", "upperBodyLongSleeve", "upperBodyShortSleeve", "upperBodyNoSleeve", "lowerBodyTrousers",
    "lowerBodyJeans", "lowerBodySuits", "lowerBodyShorts", "lowerBodyHotPants", "accessoryHat", "accessorySunglasses",
    "accessoryMuffler", "carryingBackpack",
]  # fmt: skip
PETA = PETA_WORN + [f"{part}{colour}" for part in ("upperBody", "lowerBody", "footwear") for colour in COLOURS]
PA100K = [
    "Female", "AgeOver60", "Age18-60", "AgeLess18", "Front", "Side", "Back", "Hat", "Glasses", "HandBag",
    "ShoulderBag", "Backpack", "HoldObjectsInFront", "ShortSleeve", "LongSleeve", "UpperStride", "UpperLogo",
    "UpperPlaid", "UpperSplice", "LowerStripe", "LowerPattern", "LongCoat", "Trousers", "Shorts", "Skirt&Dress",
    "boots",
]  # fmt: skip
UP = [f"up{colour}" for colour in ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")]
DOWN = [
    f"down{colour}"
    for colour in ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")
]  # fmt: skip
MARKET = ["gender:female", "hair:long", "up:short-sleeve", "down:short", "clothes:pants", "hat", "backpack", *UP, *DOWN]


def table_of(names: list[str], rows: list[list[int]], **changes: object) -> LabelTable:
    """A table of images in /data/x with these labels, all in train."""
    whole: dict[str, object] = {
        "items": [f"{number}.jpg" for number in range(len(rows))],
        "names": names,
        "labels": np.array(rows, np.int8),
        "split": np.full(len(rows), "train"),
        "source": "csv:/data/x/tags.csv",
        "root": Path("/data/x"),
    }
    return LabelTable(**{**whole, **changes})


def worn(names: list[str], *present: str, unknown: tuple[str, ...] = ()) -> LabelTable:
    """One image: what is not named is absent."""
    return table_of(names, [[1 if name in present else -1 if name in unknown else 0 for name in names]])


def said(name: str, table: LabelTable) -> dict[str, int]:
    """The labels of a table's only image under a taxonomy."""
    found = taxonomy.load(name).apply(table)
    return dict(zip(found.names, found.labels[0].tolist(), strict=True))


def twenty(**known: int) -> dict[str, int]:
    """The 20 attributes: unknown where no value is given."""
    assert set(known) <= set(TWENTY)
    return {name: known.get(name, -1) for name in TWENTY}


def rules(folder: Path, labels: str, head: str = "") -> taxonomy.Taxonomy:
    """A taxonomy of one's own."""
    folder.mkdir(exist_ok=True)
    (folder / "own.toml").write_text(f"{head}\n[labels]\n{labels}\n", encoding="utf-8")
    return taxonomy.load(folder / "own.toml")


# --- rules -------------------------------------------------------------------------------------------------

TRIPLES = list(itertools.product((1, 0, -1), repeat=3))


def kleene_any(values: tuple[int, ...]) -> int:
    return 1 if 1 in values else -1 if -1 in values else 0


def kleene_all(values: tuple[int, ...]) -> int:
    return 0 if 0 in values else -1 if -1 in values else 1


def value_of(values: tuple[int, ...], group: tuple[int, ...]) -> int:
    return 1 if 1 in values else 0 if 1 in group else -1


EXPECTED = {
    "same": lambda a, b, c: a,  # noqa: ARG005
    "any": lambda a, b, c: kleene_any((a, b, c)),
    "all": lambda a, b, c: kleene_all((a, b, c)),
    "not": lambda a, b, c: {1: 0, 0: 1, -1: -1}[a],  # noqa: ARG005
    "none": lambda a, b, c: {1: 0, 0: 1, -1: -1}[kleene_any((a, b, c))],
    "nested": lambda a, b, c: kleene_any((kleene_all((a, b)), {1: 0, 0: 1, -1: -1}[c])),
    "one": lambda a, b, c: value_of((a,), (a, b, c)),
    "two": lambda a, b, c: value_of((a, b), (a, b, c)),
    "named": lambda a, b, c: value_of((c,), (a, b, c)),
}


def test_every_rule_on_every_combination_of_three_labels(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        'same = "a"\nany = { any = ["a", "b", "c"] }\nall = { all = ["a", "b", "c"] }\nnot = { not = "a" }\n'
        'none = { not = { any = ["a", "b", "c"] } }\nnested = { any = [{ all = ["a", "b"] }, { not = "c" }] }\n'
        'one = { value = "a", of = ["a", "b", "c"] }\ntwo = { value = ["a", "b"], of = ["a", "b", "c"] }\n'
        'named = { value = ["c"], of = "letters" }',
        '[groups]\nletters = ["a", "b", "c"]',
    ).apply(table_of(["a", "b", "c"], [list(triple) for triple in TRIPLES]))
    assert list(found.names) == list(EXPECTED)
    for name, rule in EXPECTED.items():
        assert found.labels[:, list(found.names).index(name)].tolist() == [rule(*triple) for triple in TRIPLES], name


def test_everything_but_the_labels_stays_and_the_step_is_remembered(tmp_path: Path) -> None:
    table = table_of(["a"], [[1], [-1]], columns={"camera": np.array([3, 4])}, notes=("odd",), provenance=("made",))
    found = rules(tmp_path, 'x = "a"').apply(table)
    assert (found.items, found.root, found.notes) == (table.items, table.root, table.notes)
    assert found.columns["camera"].tolist() == [3, 4]
    assert found.provenance == ("made", f"taxonomy {tmp_path / 'own.toml'}")
    assert table.names == ["a"]


def test_names_of_the_target_without_a_rule_are_unknown_and_keep_their_place(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text('[attributes]\nz = "Z."\na = "A."\nm = "M."\n')
    found = rules(tmp_path, 'm = "x"\nz = "y"', 'target = "words.toml"').apply(table_of(["x", "y"], [[1, 0]]))
    assert (list(found.names), found.labels.tolist()) == (["z", "a", "m"], [[0, -1, 1]])


def test_names_with_spaces_quotes_and_other_letters(tmp_path: Path) -> None:
    found = rules(tmp_path, '"größer, \\"neu\\"" = { any = ["a b", "c\\nd"] }')
    assert found.apply(table_of(["a b", "c\nd"], [[0, 1]])).names == ['größer, "neu"']


def test_labels_that_the_source_lacks_are_listed_with_the_nearest(tmp_path: Path) -> None:
    found = rules(tmp_path, 'x = { any = ["Hat", "Backpak", "zzz"] }', 'source = "pa100k"')
    with pytest.raises(
        DataError, match=r"'Hat' \(nearest: 'hat'\), 'Backpak' \(nearest: 'Backpack'\), 'zzz'"
    ) as caught:
        found.apply(table_of(["hat", "Backpack"], [[1, 0]]))
    assert "\n" not in str(caught.value)
    assert "/data/x/tags.csv" in str(caught.value)


def test_a_table_read_with_other_options_is_told_which() -> None:
    with pytest.raises(DataError, match="read it as peta with attributes=105"):
        taxonomy.load("peta-to-20").apply(worn(["accessoryHat"]))


BAD_TAXONOMY: dict[str, tuple[bytes, str]] = {
    "no TOML": (b"[labels\nx = 1", "not readable as TOML"),
    "another encoding": ("[labels]\nx = 'é'".encode("latin-1"), "byte 14 is not UTF-8"),
    "nothing": (b"", r"no \[labels\]"),
    "no labels": (b'target = "pedestrian-20"\n', r"no \[labels\]"),
    "labels that are no table": (b'labels = "x"\n', r"no \[labels\]"),
    "an unknown key": (b'soruce = "x"\n[labels]\na = "b"\n', "unknown key 'soruce': did you mean 'source'"),
    "an unknown target": (b'target = "pedestrian-2"\n[labels]\na = "b"\n', "did you mean 'pedestrian-20'"),
    "a target that is no name": (b'target = 20\n[labels]\na = "b"\n', "target is 20"),
    "a target file that is not there": (b'target = "w.toml"\n[labels]\na = "b"\n', r"w\.toml: no such file"),
    "a name that is not in the target": (
        b'target = "pedestrian-20"\n[labels]\nhasHut = "Hat"\n', "unknown name of the target 'hasHut'.*'hasHat'"
    ),
    "a name twice": (b'[labels]\na = "b"\na = "c"\n', "not readable as TOML"),
    "a list alone": (b'[labels]\na = ["b", "c"]\n', r"\[labels\] a: \['b', 'c'\] is no rule: write"),
    "a number": (b"[labels]\na = 1\n", "a: 1 is no rule"),
    "an unknown rule": (b'[labels]\na = { anny = ["b"] }\n', "is no rule"),
    "two rules": (b'[labels]\na = { any = ["b"], not = "c" }\n', "is no rule"),
    "a rule with more": (b'[labels]\na = { any = ["b"], of = ["b"] }\n', "is no rule"),
    "any of nothing": (b"[labels]\na = { any = [] }\n", "any needs a list"),
    "any of a text": (b'[labels]\na = { any = "b" }\n', "any needs a list"),
    "a bad rule within": (b'[labels]\na = { any = ["b", 2] }\n', "a: 2 is no rule"),
    "a value of nothing": (b'[labels]\na = { value = "b" }\n', "a of: None is not a list of labels"),
    "a value outside its group": (
        b'[labels]\na = { value = "rde", of = ["red", "blue"] }\n', "unknown label of the group 'rde'.*'red'"
    ),
    "an unknown group": (b'[groups]\nup = ["c"]\n[labels]\na = { value = "c", of = "ub" }\n', "group 'ub'.*'up'"),
    "an empty group": (b'[groups]\nup = []\n[labels]\na = "c"\n', r"\[groups\] up: \[\] is not a list"),
    "groups that are no table": (b'groups = 1\n[labels]\na = "c"\n', r"\[groups\] and \[options\] are tables"),
    "nested without end": (b"[labels]\na = " + b"[" * 100_000, "not readable as TOML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TAXONOMY)
def test_a_bad_taxonomy_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    content, message = BAD_TAXONOMY[case]
    (tmp_path / "own.toml").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        taxonomy.load(tmp_path / "own.toml")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes('\ufeff[labels]\nx = "a"\n'.encode())
    assert taxonomy.load(tmp_path / "own.toml").needs == ["a"]


def test_an_unknown_name_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown taxonomy 'pa100k-to-2O': did you mean 'pa100k-to-20'"):
        taxonomy.load("pa100k-to-2O")
    with pytest.raises(OptionError, match="unknown vocabulary 'pedestrian'"):
        taxonomy.vocabulary("pedestrian")
    with pytest.raises(DataError, match="no such file"):
        taxonomy.load(tmp_path / "none.toml")


@pytest.mark.parametrize("content", ["", "attributes = 1", "[attributes]", "[attributes]\na = 1"])
def test_a_bad_vocabulary(tmp_path: Path, content: str) -> None:
    (tmp_path / "w.toml").write_text(content)
    with pytest.raises(DataError, match=r"w\.toml: no \[attributes\] with a sentence for each name"):
        taxonomy.vocabulary(tmp_path / "w.toml")


# --- what comes with the library ---------------------------------------------------------------------------


def test_the_taxonomies_that_come_with_the_library() -> None:
    assert taxonomy.names() == ["market1501-to-20", "pa100k-to-20", "peta-to-20", "peta-to-35"]
    assert list(taxonomy.vocabulary("pedestrian-20")) == TWENTY
    for name in taxonomy.names():
        assert all(taxonomy.load(name).vocabulary.values()), name


def test_pa100k_under_the_twenty() -> None:
    known = {
        "upperPattern": 0, "upperLongSleeve": 0, "upperShortSleeve": 0, "lowerTrousers": 0, "lowerShorts": 0,
        "hasHat": 0, "hasBackpack": 0,
    }  # fmt: skip
    assert said("pa100k-to-20", worn(PA100K)) == twenty(**known)
    for name in ("UpperStride", "UpperLogo", "UpperPlaid", "UpperSplice"):
        assert said("pa100k-to-20", worn(PA100K, name)) == twenty(**{**known, "upperPattern": 1})
    changed = {"LongSleeve": "upperLongSleeve", "ShortSleeve": "upperShortSleeve", "Trousers": "lowerTrousers",
               "Shorts": "lowerShorts", "Hat": "hasHat", "Backpack": "hasBackpack"}  # fmt: skip
    for name in set(PA100K) - {"UpperStride", "UpperLogo", "UpperPlaid", "UpperSplice"}:
        expected = {**known, changed[name]: 1} if name in changed else known
        assert said("pa100k-to-20", worn(PA100K, name)) == twenty(**expected), name


def test_market1501_under_the_twenty() -> None:
    cases = [
        # (present, the attributes that are 1; sleeves, trousers, hat and backpack are known for everybody)
        (["clothes:pants", "upblack", "downblue"], {"upperLongSleeve", "lowerTrousers", "upperDark", "lowerBlue"}),
        (["up:short-sleeve", "clothes:pants", "down:short", "upgray", "downbrown", "hat"],
         {"upperShortSleeve", "lowerShorts", "upperLight", "lowerDark", "hasHat"}),
        (["down:short", "uppurple", "downpink", "backpack"], {"upperLongSleeve", "upperBright", "hasBackpack"}),
        (["clothes:pants", "upwhite", "downgray"], {"upperLongSleeve", "lowerTrousers", "upperLight", "lowerLight"}),
    ]  # fmt: skip
    known = [name for name in TWENTY if name not in (
        "upperTshirt", "upperJacket", "upperPattern", "lowerJeans", "hasSunglasses", "hasMuffler", "footwearDark",
        "footwearWhite",
    )]  # fmt: skip
    for present, expected in cases:
        found = said("market1501-to-20", worn(MARKET, *present))
        assert found == twenty(**{name: int(name in expected) for name in known}), present


@pytest.mark.parametrize("unknown", [tuple(UP), ()])
def test_a_person_of_market1501_without_a_colour_has_unknown_colours(unknown: tuple[str, ...]) -> None:
    found = said("market1501-to-20", worn(MARKET, "clothes:pants", "downgreen", unknown=unknown))
    assert [found[f"upper{colour}"] for colour in ("Dark", "Bright", "Light")] == [-1, -1, -1]
    assert [found[f"lower{colour}"] for colour in ("Dark", "Blue", "Light")] == [0, 0, 0]


def test_peta_under_the_twenty() -> None:
    nothing = {
        "upperTshirt": 0, "upperJacket": 0, "upperPattern": 0, "lowerTrousers": 0, "lowerShorts": 0, "lowerJeans": 0,
        "hasHat": 0, "hasSunglasses": 0, "hasMuffler": 0, "hasBackpack": 0,
    }  # fmt: skip
    assert said("peta-to-20", worn(PETA)) == twenty(**nothing)
    changes: dict[str, dict[str, int]] = {
        "upperBodyTshirt": {"upperTshirt": 1}, "upperBodyJacket": {"upperJacket": 1},
        "upperBodyLogo": {"upperPattern": 1}, "upperBodyPlaid": {"upperPattern": 1},
        "upperBodyThinStripes": {"upperPattern": 1}, "upperBodyThickStripes": {"upperPattern": 1},
        "upperBodyLongSleeve": {"upperLongSleeve": 1, "upperShortSleeve": 0},
        "upperBodyShortSleeve": {"upperLongSleeve": 0, "upperShortSleeve": 1},
        "upperBodyNoSleeve": {"upperLongSleeve": 0, "upperShortSleeve": 1},
        "lowerBodyTrousers": {"lowerTrousers": 1}, "lowerBodyJeans": {"lowerTrousers": 1, "lowerJeans": 1},
        "lowerBodySuits": {"lowerTrousers": 1}, "lowerBodyShorts": {"lowerShorts": 1},
        "lowerBodyHotPants": {"lowerShorts": 1}, "accessoryHat": {"hasHat": 1},
        "accessorySunglasses": {"hasSunglasses": 1}, "accessoryMuffler": {"hasMuffler": 1},
        "carryingBackpack": {"hasBackpack": 1},
    }  # fmt: skip
    dark, light = ("Black", "Brown"), ("White", "Grey")
    for colour in COLOURS:
        shades = {"Dark": int(colour in dark), "Light": int(colour in light)}
        bright = int(colour not in dark + light)
        changes[f"upperBody{colour}"] = {**{f"upper{s}": v for s, v in shades.items()}, "upperBright": bright}
        changes[f"lowerBody{colour}"] = {
            **{f"lower{s}": v for s, v in shades.items()},
            "lowerBlue": int(colour == "Blue"),
        }
        changes[f"footwear{colour}"] = {"footwearDark": shades["Dark"], "footwearWhite": int(colour == "White")}
    assert set(changes) == set(PETA)
    for name, change in changes.items():
        assert said("peta-to-20", worn(PETA, name)) == twenty(**{**nothing, **change}), name


def test_two_colours_of_one_garment_are_both_there() -> None:
    found = said("peta-to-20", worn(PETA, "upperBodyBlack", "upperBodyWhite"))
    assert [found[f"upper{colour}"] for colour in ("Dark", "Bright", "Light")] == [1, 0, 1]


def test_peta_under_the_35_is_those_columns_as_they_are() -> None:
    wanted = list(taxonomy.vocabulary("peta-35"))
    names = sorted({*wanted, *PETA, *(f"other{number}" for number in range(30))})
    labels = np.random.default_rng(0).integers(-1, 2, (50, len(names))).astype(np.int8)
    found = taxonomy.load("peta-to-35").apply(table_of(names, labels.tolist()))
    assert len(wanted) == 35
    assert list(found.names) == wanted
    assert found.labels.tolist() == labels[:, [names.index(name) for name in wanted]].tolist()


def test_the_examples_of_the_page_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs/taxonomies.md").read_text(encoding="utf-8")
    lists, rules = (block.partition("```")[0] for block in page.split("```toml\n")[1:])
    (tmp_path / "own.toml").write_text(rules, encoding="utf-8")
    assert len(taxonomy.load(tmp_path / "own.toml").rules) == 5
    (tmp_path / "merge.toml").write_text(lists, encoding="utf-8")
    with pytest.raises(DataError, match=r"source 1: .*PA-100K: no such file"):
        data.load(str(tmp_path / "merge.toml"))


# --- merging -----------------------------------------------------------------------------------------------


def test_classes_are_united_and_what_a_source_does_not_have_is_unknown() -> None:
    first = table_of(["hat", "bag"], [[1, 0], [0, -1]])
    second = table_of(["bag", "shoe"], [[1, 0]], root=Path("/data/y"), source="folder:/data/y")
    both = merge([first, second])
    assert list(both.names) == ["hat", "bag", "shoe"]
    assert both.labels.tolist() == [[1, 0, -1], [0, -1, -1], [-1, 1, 0]]
    assert both.columns["source"].tolist() == ["csv", "csv", "folder"]
    assert (both.root, list(both.items)) == (Path("/data"), ["x/0.jpg", "x/1.jpg", "y/0.jpg"])
    assert both.source == "csv:/data/x/tags.csv + folder:/data/y"
    assert both.notes == ()
    assert both.provenance == ("merge of csv, folder",)


def test_the_classes_can_be_chosen() -> None:
    first, second = table_of(["a", "b"], [[1, 0]]), table_of(["c"], [[1]], root=Path("/data/y"))
    both = merge([first, second], ["c", "a"])
    assert (list(both.names), both.labels.tolist()) == (["c", "a"], [[-1, 1], [1, -1]])
    assert both.notes == ("classes that are left out: b",)
    with pytest.raises(OptionError, match="unknown class 'aa': did you mean 'a'"):
        merge([first, second], ["aa"])


def test_a_root_within_another() -> None:
    both = merge([table_of(["a"], [[1]], root=Path("/data/x/y")), table_of(["a"], [[0]])])
    assert (both.root, list(both.items)) == (Path("/data/x"), ["y/0.jpg", "0.jpg"])


def test_sources_are_called_by_their_formats_or_as_given() -> None:
    tables = [table_of(["a"], [[1]], root=Path(f"/data/{place}")) for place in range(3)]
    assert merge(tables).columns["source"].tolist() == ["csv", "csv-2", "csv-3"]
    assert merge(tables, sources=["x", "y", "z"]).columns["source"].tolist() == ["x", "y", "z"]
    for wrong in (["x"], ["x", "y", "x"]):
        with pytest.raises(OptionError, match="give 3 different names"):
            merge(tables, sources=wrong)


def test_columns_notes_and_steps_of_each_source_are_kept() -> None:
    columns = {"identity": np.array([7, 8]), "role": np.array(["query", ""]), "age": np.array([1, 2])}
    first = table_of(["a"], [[1], [0]], columns=columns, notes=("odd",), provenance=("thinned",), source="market:m")
    second = table_of(["a"], [[1]], columns={"identity": np.array(["0007"]), "age": np.array([3])}, root=Path("/y"))
    both = merge([first, second])
    assert both.columns["identity"].tolist() == ["market/7", "market/8", "csv/0007"]
    assert both.columns["role"].tolist() == ["query", "", ""]
    assert both.columns["age"].tolist() == [1, 2, 3]
    assert both.notes == ("market: odd",)
    assert both.provenance == ("market: thinned", "merge of market, csv")
    assert len(set(both.groups("identity").tolist())) == 3


def test_a_missing_column_is_empty_and_an_unknown_identity_stays_so() -> None:
    first = table_of(["a"], [[1]], columns={"identity": np.array([""]), "camera": np.array([2])})
    both = merge([first, table_of(["a"], [[1]], root=Path("/data/y"))])
    assert both.columns["identity"].tolist() == ["", ""]
    assert both.columns["camera"].tolist() == ["csv/2", ""]


def test_a_merged_table_can_be_merged_and_tells_its_sources() -> None:
    people = {"identity": np.array(["1"])}
    inner = merge([table_of(["a"], [[1]], source="p:p", columns=people), table_of(["a"], [[1]], root=Path("/data/y"))])
    other = table_of(["b"], [[0]], root=Path("/data/z"), source="q:q", columns=people)
    outer = merge([inner, other], sources=["merged", "q"])
    assert outer.columns["source"].tolist() == ["merged/p", "merged/csv", "q"]
    assert outer.columns["identity"].tolist() == ["merged/p/1", "", "q/1"]
    assert list(outer.items) == ["x/0.jpg", "y/0.jpg", "z/0.jpg"]


def test_the_same_image_in_two_sources_is_reported() -> None:
    first = table_of(["a", "b"], [[1, 0], [1, 1], [0, 0]])
    second = table_of(
        ["b", "a"], [[1, 1], [-1, 0]], items=["./0.jpg", "1.jpg#xywh=0,0,5,5"], split=np.array(["train", "test"])
    )
    notes = merge([first, second]).notes
    assert notes == (
        "the test part has nothing of csv: what no other source knows cannot be judged there",
        "images in more than one source, whose rows stand side by side: 2 (0.jpg, 1.jpg)",
        "labels of the same item contradict each other between sources: b (1)",
        "images whose sources have them in different parts: 1 (1.jpg): keep each in one part",
    )


def test_a_part_that_a_source_does_not_have_is_reported() -> None:
    first = table_of(["a"], [[1], [0], [1]], split=np.array(["train", "val", "test"]))
    second = table_of(["b"], [[1], [0]], split=np.array(["train", "test"]), root=Path("/data/y"), source="folder:y")
    note = "the val part has nothing of folder: what no other source knows cannot be judged there"
    assert merge([first, second]).notes == (note,)
    assert merge([second, second]).notes[0].startswith("images in more than one source")


def test_rows_that_stand_twice_in_one_source_are_no_clash() -> None:
    first = table_of(["a"], [[1], [0]], items=["0.jpg", "0.jpg"], split=np.array(["train", "test"]))
    other = table_of(["a"], [[1], [1]], root=Path("/data/y"), split=np.array(["train", "test"]))
    assert merge([first, other]).notes == ()


def features_of(width: int, **changes: object) -> LabelTable:
    """A feature table of two rows."""
    features = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    return table_of(["a"], [[1], [0]], items=["row 0", "row 1"], root=None, features=features, **changes)


def test_feature_tables_of_one_width() -> None:
    both = merge([features_of(3), features_of(3)])
    assert both.features is not None
    assert both.features.tolist() == [[0, 1, 2], [3, 4, 5]] * 2
    assert list(both.items) == ["csv/row 0", "csv/row 1", "csv-2/row 0", "csv-2/row 1"]
    assert (both.root, both.notes) == (None, ())


def test_what_cannot_be_merged() -> None:
    with pytest.raises(DataError, match="nothing to merge"):
        merge([])
    with pytest.raises(DataError, match=r"features of \(3,\) and .* of \(4,\): extract both with the same backbone"):
        merge([features_of(3), features_of(4)])
    for mixed in ([features_of(3), table_of(["a"], [[1]])], [table_of(["a"], [[1]]), features_of(3)]):
        with pytest.raises(DataError, match=r"has features, .* has images"):
            merge(mixed)


def test_unknown_rates_and_holes_by_source() -> None:
    first = table_of(["a", "b", "c"], [[1, -1, -1], [-1, -1, -1]])
    both = merge([first, table_of(["b", "c", "d"], [[0, -1, 1]], root=Path("/data/y"), source="folder:y")])
    rates = {source: rate.tolist() for source, rate in taxonomy.unknown_by_source(both).items()}
    assert rates == {"csv": [0.5, 1, 1, 1], "folder": [1, 0, 1, 0]}
    assert taxonomy.holes(both) == [
        "no source says anything about c: nothing can teach them", "csv alone knows a", "folder alone knows b, d",
    ]  # fmt: skip
    assert taxonomy.holes(table_of(["a"], [[1]])) == []
    assert list(taxonomy.unknown_by_source(table_of(["a"], [[1]]))) == ["csv:/data/x/tags.csv"]


# --- the format --------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    """Write a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def pa100k(folder: Path) -> None:
    """PA-100K's layout with its 26 attributes: an image for each part; the first is all absent, the second a hat."""
    (folder / "data").mkdir(parents=True)
    content: dict[str, object] = {"attributes": np.array([[name] for name in PA100K], dtype=object)}
    for number, part in enumerate(("train", "val", "test")):
        content[f"{part}_images_name"] = np.array([[f"{number}.jpg"]], dtype=object)
        content[f"{part}_label"] = np.array([[int(number == 1 and name == "Hat") for name in PA100K]], np.uint8)
        write_image(folder / "data" / f"{number}.jpg", 1, 0)
    savemat(folder / "annotation.mat", content)


def test_sources_with_and_without_a_taxonomy_and_an_archive(tmp_path: Path) -> None:
    pa100k(tmp_path / "PA 100K")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for name, colour in (("a.png", "red"), ("b.png", "blue")):
            Image.new("RGB", (4, 4), colour).save(tmp_path / name)
            archive.write(tmp_path / name, f"inner/{name}")
    write(tmp_path / "lists/tags.csv", "image,cap,split\nmore.zip/inner/a.png,1,train\nmore.zip/inner/b.png,,test\n")
    write(tmp_path / "merge/cap.toml", 'target = "pedestrian-20"\n[labels]\nhasHat = "cap"\n')
    file = write(
        tmp_path / "merge/merge.toml",
        '[[source]]\ndata = "pa100k:../PA 100K"\ntaxonomy = "pa100k-to-20"\n\n[[source]]\n'
        'data = "../lists/tags.csv"\ntaxonomy = "cap.toml"\noptions = { images = "../" }\n',
    )
    table = data.load(str(file))
    hat = list(table.names).index("hasHat")
    assert list(table.names) == TWENTY
    assert table.labels[:, hat].tolist() == [0, 1, 0, 1, -1]
    assert (table.labels[3:, :hat] == -1).all()
    assert table.split.tolist() == ["train", "val", "test", "train", "test"]
    assert table.columns["source"].tolist() == ["pa100k"] * 3 + ["csv"] * 2
    assert table.source == f"merge:{file}"
    colours = [np.asarray(decode(image, (4, 4))).mean((0, 1)).round().tolist() for image in table.images()]
    assert colours[3:] == [[255, 0, 0], [0, 0, 255]]
    assert recognise(file).NAME == recognise(file.parent).NAME == "merge"
    assert data.load(str(file.parent)).fingerprint() == table.fingerprint()


def test_peta_is_read_with_the_columns_that_its_rules_need(tmp_path: Path) -> None:
    archive = tmp_path / "PETA dataset/MIT/archive"
    archive.mkdir(parents=True)
    for number in (1, 2):
        write_image(archive / f"000{number}_male_back.jpg", 0, 0)
    first = "upperBodyBlack upperBodyLongSleeve lowerBodyJeans lowerBodyBlue accessoryHat footwearWhite"
    write(archive / "Label.txt", f"0001 {first}\n0002 upperBodyTshirt lowerBodyShorts personalMale\n")
    file = write(tmp_path / "merge.toml", '[[source]]\ndata = "peta:PETA dataset"\ntaxonomy = "peta-to-20"\n')
    table = data.load(str(file))
    present = [{name for name, label in zip(TWENTY, row, strict=True) if label == 1} for row in table.labels.tolist()]
    unknown = {name for name, label in zip(TWENTY, table.labels[1].tolist(), strict=True) if label == -1}
    hers = {"upperDark", "upperLongSleeve", "lowerTrousers", "lowerJeans", "lowerBlue", "hasHat", "footwearWhite"}
    assert present == [hers, {"upperTshirt", "lowerShorts"}]
    assert (table.labels[0] != -1).all()
    colours = ("upperDark", "upperBright", "upperLight", "lowerDark", "lowerBlue", "lowerLight")
    assert unknown == {*colours, "upperLongSleeve", "upperShortSleeve", "footwearDark", "footwearWhite"}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("peta-to-20", peta.ATTRIBUTES),
        ("peta-to-35", peta.ATTRIBUTES),
        ("market1501-to-20", market1501.LAYOUT.classes),
        ("pa100k-to-20", PA100K),
    ],
)
def test_the_rules_name_labels_that_the_formats_give(name: str, labels: list[str]) -> None:
    assert set(taxonomy.load(name).needs) <= set(labels)


def test_the_names_of_sources_and_built_in_data(tmp_path: Path) -> None:
    file = write(
        tmp_path / "m.toml", '[[source]]\ndata = "digits"\nname = "x"\n[[source]]\ndata = "digits"\nname = "y"'
    )
    table = data.load(str(file))
    assert (len(table), np.unique(table.columns["source"]).tolist()) == (3200, ["x", "y"])


def test_the_classes_of_a_list_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "image,a,b,c\n1.jpg,1,0,\n")
    content = 'classes = ["c", "a"]\n[[source]]\ndata = "csv:t.csv"\n'
    table = data.load(str(write(tmp_path / "m.toml", content)))
    assert (list(table.names), table.labels.tolist()) == (["c", "a"], [[-1, 1]])
    assert table.notes == ("classes that are left out: b",)


def test_options_that_the_rules_need_are_given_unless_others_are(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "image,a,b\n1.jpg,1,\n2.jpg,0,1\n")
    write(tmp_path / "own.toml", 'source = "csv"\noptions = { blank = "absent" }\n[labels]\nx = "b"\n')
    first = '[[source]]\ndata = "csv:t.csv"\ntaxonomy = "./own.toml"\n'
    assert data.load(str(write(tmp_path / "m.toml", first))).labels.tolist() == [[0], [1]]
    again = first + 'options = { blank = "unknown" }\n'
    assert data.load(str(write(tmp_path / "m.toml", again))).labels.tolist() == [[-1], [1]]


BAD_MERGE: dict[str, tuple[str, str]] = {
    "nothing": ("", "missing required field `source`"),
    "no source": ("source = []", "lists no source"),
    "a source without data": ('[[source]]\nname = "x"', "missing required field `data`"),
    "one source as a table": ('[source]\ndata = "t.csv"', "Expected `array`"),
    "an unknown key": ('[[source]]\ndata = "t.csv"\ntaxnomy = "x"', "unknown field `taxnomy`"),
    "a number": ("[[source]]\ndata = 7", "Expected `str`, got `int`"),
    "data that is not there": (
        '[[source]]\ndata = "t.csv"\n[[source]]\ndata = "csv:u.csv"', r"source 2: .*u\.csv: no such"
    ),
    "an unknown format": ('[[source]]\ndata = "pa10k:x"', "source 1: .*pa10k:x: no such file|unknown format"),
    "an unknown taxonomy": ('[[source]]\ndata = "t.csv"\ntaxonomy = "pa100-to-20"', "source 1: unknown taxonomy"),
    "a taxonomy of another source": (
        '[[source]]\ndata = "t.csv"\ntaxonomy = "pa100k-to-20"', "source 1: csv:.*has no label 'UpperStride'"
    ),
    "an unknown option": ('[[source]]\ndata = "t.csv"\noptions = { blnk = 1 }', "source 1: .*'blnk'.*'blank'"),
    "a number as an option": (
        '[[source]]\ndata = "t.csv"\noptions = { ignore = 5 }', "source 1: ignore=5: expected"
    ),
    "a list as an option": (
        '[[source]]\ndata = "t.csv"\noptions = { images = ["a"] }', r"source 1: images=\['a'\]: expected"
    ),
    "a list where a word belongs": (
        '[[source]]\ndata = "t.csv"\noptions = { blank = ["a"] }', r"source 1: blank=\['a'\]: expected"
    ),
    "an option of what has none": (
        '[[source]]\ndata = "digits"\noptions = { blank = "absent" }', "source 1: digits: unknown option 'blank'"
    ),
    "the same name twice": (
        '[[source]]\ndata = "t.csv"\nname="a"\n[[source]]\ndata = "t.csv"\nname="a"', "give 2 different names"
    ),
    "a name for one of two": (
        '[[source]]\ndata = "t.csv"\nname="a"\n[[source]]\ndata = "t.csv"', "1 of 2 sources have a name"
    ),
    "a class that is not there": ('classes = ["b"]\n[[source]]\ndata = "t.csv"', "unknown class 'b'"),
    "itself": ('[[source]]\ndata = "m.toml"', "is a source of itself"),
    "itself by another": ('[[source]]\ndata = "other.toml"', "is a source of itself"),
    "features beside images": ('[[source]]\ndata = "t.csv"\n[[source]]\ndata = "digits"', "digits has features"),
    "no TOML": ("[[source]", "not readable as TOML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_MERGE)
def test_a_bad_list_of_sources_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    content, message = BAD_MERGE[case]
    write(tmp_path / "t.csv", "image,a\n1.jpg,1\n")
    write(tmp_path / "other.toml", '[[source]]\ndata = "m.toml"')
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(write(tmp_path / "m.toml", content)))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'm.toml'}")


def test_the_same_file_can_be_read_again_after_it_failed(tmp_path: Path) -> None:
    file = write(tmp_path / "m.toml", '[[source]]\ndata = "t.csv"')
    for _ in range(2):
        with pytest.raises(DataError, match=r"t\.csv: no such file"):
            merged.read(file)


# --- real files --------------------------------------------------------------------------------------------


def test_pa100k_and_market1501_under_the_twenty(data_folder: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "merge.toml",
        f'[[source]]\ndata = "pa100k:{data_folder / "pa100k"}"\ntaxonomy = "pa100k-to-20"\n'
        f'[[source]]\ndata = "market1501:{data_folder / "market1501"}"\ntaxonomy = "market1501-to-20"\n',
    )
    table = data.load(str(file))
    alone = data.load(f"pa100k:{data_folder / 'pa100k'}")
    assert (len(table), list(table.names)) == (2000 + 8453, TWENTY)
    assert all(image.exists() for image in table.images())
    assert not isinstance(decode(table.image(len(table) - 1), (8, 8)), str)
    rates = taxonomy.unknown_by_source(table)
    known = {source: [name for name, rate in zip(TWENTY, rates[source], strict=True) if rate < 1] for source in rates}
    assert known["pa100k"] == [
        "upperPattern", "upperLongSleeve", "upperShortSleeve", "lowerTrousers", "lowerShorts", "hasHat", "hasBackpack",
    ]  # fmt: skip
    assert len(known["market1501"]) == 12
    hats = alone.labels[:, list(alone.names).index("Hat")]
    assert table.labels[:2000, TWENTY.index("hasHat")].tolist() == hats.tolist()
    market = table.select(table.columns["source"] == "market1501")
    named = (market.labels[:, [TWENTY.index(f"upper{shade}") for shade in ("Dark", "Bright", "Light")]] == 1).sum(1)
    assert set(named.tolist()) == {0, 1}
    assert (named == 0).mean() == rates["market1501"][TWENTY.index("upperDark")]
    silent = "upperTshirt, upperJacket, lowerJeans, hasSunglasses, hasMuffler, footwearDark, footwearWhite"
    assert f"no source says anything about {silent}: nothing can teach them" in taxonomy.holes(table)


def test_a_link_of_one_source_may_not_lead_into_another(tmp_path: Path) -> None:
    """The common folder of both is no licence to read all of it."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "own.png", 1, 0)
    write_image(tmp_path / "secret.png", 1, 0)
    (tmp_path / "a/out.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "a/other.png").symlink_to(tmp_path / "b/own.png")
    first = table_of(["x"], [[1], [0], [1]], items=["own.png", "out.png", "other.png"], root=tmp_path / "a")
    second = table_of(["x"], [[1]], items=["own.png"], root=tmp_path / "b")
    merged = merge([first, second])
    data.save(merged, tmp_path / "merged.parquet")
    for table in (merged, data.load(str(tmp_path / "merged.parquet")), merge([merged, second])):
        found = [decode(image, (4, 4)) for image in table.images()[:4]]
        assert [image if isinstance(image, str) else "" for image in found] == [
            "", *["a link that leads out of the data's folder"] * 2, "",
        ]  # fmt: skip
