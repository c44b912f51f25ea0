"""Columns that look like what several rows belong to: patients, persons, products, videos.

Nobody says so of a column, and a split that does not know it puts one patient into train and test. Values decide: they
repeat, there are many of them, and none has most of the rows. A name that says so is believed from fewer values on.
Without one they have to be codes or whole numbers that stand as those of identities do: row beside row, or about
equally often. Ages, sizes, dates, texts, categories and parts are none.
"""

import re

import numpy as np

from rarecall.data.table import LabelTable, is_unknown
from rarecall.labels import PRESENT

FEWEST_VALUES, FEWEST_UNNAMED = 5, 20
LEAST_REPEATED, LEAST_REPEATED_NAMED = 1.5, 1.1  # rows for each value
MOST_ROWS = 100  # for each value of a column without a telling name
UNEVEN = 10  # times the mean that a value may have
MOST_OF_ONE = 0.5  # of the rows that one value may have
LONGEST, MOST_WORDS = 64, 4  # characters and words of a value on average; more are free text
BEYOND_ONE_RUN = 1.2  # runs for each value, where rows stand in the order of the values
YEARS = (1900, 2100)

TELLING = frozenset((
    "actor", "animal", "article", "author", "case", "clip", "customer", "exam", "family", "group", "household",
    "identity", "individual", "owner", "participant", "patient", "person", "photographer", "player", "product",
    "recording", "scan", "sequence", "series", "session", "sku", "slide", "speaker", "specimen", "study", "subject",
    "track", "tracklet", "user", "video", "visit",
))  # fmt: skip
NUMBERING = frozenset(("guid", "id", "ids", "nr", "pid", "sid", "uid", "uuid"))
OTHERWISE = frozenset((
    "age", "attribute", "breed", "cam", "camera", "category", "class", "classes", "count", "date", "dataset",
    "diagnosis", "fold", "gender", "height", "kind", "label", "labels", "length", "month", "num", "of", "part",
    "partition", "price", "rating", "role", "score", "set", "sex", "size", "source", "species", "split", "subset",
    "tag", "tags", "time", "total", "type", "weight", "width", "year",
))  # fmt: skip
_CODE = re.compile(r"(?=.*\d)(?!\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})\S+")  # with a digit, and no date


def identity_columns(table: LabelTable) -> list[str]:
    """The columns that look like identities, and whose values the table's groups do not keep together.

    >>> patients = np.array([f"p{row // 3}" for row in range(30)])
    >>> labels = np.tile(np.array([[1, 0], [0, 1], [1, 1]], np.int8), (10, 1))
    >>> items, train = [f"{row}.jpg" for row in range(30)], np.full(30, "train")
    >>> identity_columns(LabelTable(items, ["hat", "bag"], labels, train, columns={"patient": patients}))
    ['patient']
    """
    found = {name: values for name, values in table.columns.items() if name != table.grouped_by}
    found = {name: values for name, values in found.items() if looks_like_identity(name, values)}
    if not found:
        return []
    groups = table.groups()
    return [name for name, values in found.items() if not (_is_nested(values, groups) or _is_a_class(values, table))]


def looks_like_identity(name: str, values: np.ndarray) -> bool:
    """Whether a column's values look like what several rows belong to.

    Args:
        name: of the column.
        values: (N,) of any type.

    >>> looks_like_identity("patient", np.repeat(np.arange(10), 3)), looks_like_identity("age", np.arange(30) % 10)
    (True, False)
    """
    words = _words(name)
    if values.dtype.kind not in "iufU" or words & OTHERWISE:
        return False
    found, times = np.unique(values, return_counts=True)
    if len(found) > len(values) / LEAST_REPEATED_NAMED:
        return False
    told = np.array([not is_unknown(value) for value in found.tolist()])
    found, times = found[told], times[told]
    if len(found) < FEWEST_VALUES or times.max() > MOST_OF_ONE * times.sum():
        return False
    if not (_are_whole_numbers(found) or _are_names(found)):
        return False
    if any(_tells(word) for word in words):
        return bool(times.mean() >= LEAST_REPEATED_NAMED)
    return _stand_as_identities(values, found, times)


def _tells(word: str) -> bool:
    """Whether a word of a name says that values are identities."""
    return word in TELLING | NUMBERING or any(word.removesuffix(ending) in TELLING for ending in NUMBERING)


def _stand_as_identities(values: np.ndarray, found: np.ndarray, times: np.ndarray) -> bool:
    """Whether values without a telling name are codes or numbers that repeat as identities do."""
    if len(found) < FEWEST_UNNAMED or not LEAST_REPEATED <= times.mean() <= MOST_ROWS:
        return False
    runs = 1 + int(np.count_nonzero(values[1:] != values[:-1]))
    in_order = runs <= BEYOND_ONE_RUN * len(found)
    if _are_whole_numbers(found):
        numbers = found.astype(float)
        return in_order and not (YEARS[0] <= numbers.min() and numbers.max() <= YEARS[1])
    are_codes = all(_CODE.fullmatch(value) for value in found.tolist())
    return are_codes and (in_order or bool(times.max() <= UNEVEN * times.mean()))


def _are_whole_numbers(found: np.ndarray) -> bool:
    try:
        numbers = found.astype(float)
    except ValueError:
        return False
    return bool(np.isfinite(numbers).all() and (numbers == numbers.round()).all())


def _are_names(found: np.ndarray) -> bool:
    """Whether values are short texts that are no numbers."""
    if found.dtype.kind != "U" or np.strings.str_len(found).mean() > LONGEST:
        return False
    words = 1 + np.strings.count(found, " ")
    return bool(words.mean() <= MOST_WORDS and not all(_is_number(value) for value in found.tolist()))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _words(name: str) -> set[str]:
    """The words of a column's name.

    >>> sorted(_words("PatientID (nr.)")), sorted(_words("video_2"))
    (['id', 'nr', 'patient'], ['video'])
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.findall(r"[a-z]+", apart.lower()))


def _is_nested(values: np.ndarray, groups: np.ndarray) -> bool:
    """Whether all rows of a value are in one group, so that they stay together already."""
    found, place = np.unique(values, return_inverse=True)
    told = np.array([not is_unknown(value) for value in found.tolist()])
    place, groups = place[told[place]], groups[told[place]]
    return len(np.unique(place * (groups.max() + 1) + groups)) == int(told.sum())


def _is_a_class(values: np.ndarray, table: LabelTable) -> bool:
    """Whether a column says the one class of each row in other words."""
    present = table.labels == PRESENT
    if not (present.sum(1) == 1).all():
        return False
    place, classes = np.unique(values, return_inverse=True)[1], present.argmax(1)
    pairs = len(np.unique(place * present.shape[1] + classes))
    return pairs == len(np.unique(classes)) == len(np.unique(place))
