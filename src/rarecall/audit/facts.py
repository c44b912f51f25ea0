"""What an audit counts, as typed values."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class ClassFacts:
    """One class.

    Attributes:
        name: of the class.
        positives: in train.
        unknown: in train.
        positives_val: in validation.
        positives_test: in test.
        tier: head, medium or tail.
        absent: in train.
        absent_test: in test.
        shares: of known items with the class, by part; None where none is known.
        deviation: of its AP on the test part (of 20 % of train if there is none), in points; None without labels.
        needed_5: test positives for a 95 % interval of ± 5 points; `needed_1` of ± 1 point.
    """

    name: str
    positives: int
    unknown: int
    positives_val: int
    positives_test: int
    tier: str
    absent: int
    absent_test: int
    shares: dict[str, float | None]
    deviation: float | None
    needed_5: int | None
    needed_1: int | None


@dataclass(frozen=True)
class Pair:
    """Two classes that occur together: training items that have both, and their correlation φ."""

    first: str
    second: str
    together: int
    correlation: float


@dataclass(frozen=True)
class Implication:
    """Nearly every training item with the first class has the second: of how many, and how many have it not."""

    first: str
    second: str
    items: int
    exceptions: int


@dataclass(frozen=True)
class Exclusion:
    """Two classes of which no training item has both, and how many would if they were independent."""

    first: str
    second: str
    expected: float


@dataclass(frozen=True)
class Strongest(Generic[Kind]):
    """How many were found, and the 50 strongest of them."""

    found: int
    strongest: list[Kind]


@dataclass(frozen=True)
class PartShift:
    """What differs between train and another part by more than chance.

    Attributes:
        part: the other part.
        classes: the class, or the two whose bond differs.
        train: the share of known items with the class, or the log odds ratio of the two, in train.
        other: the same in the other part.
        deviations: how many standard errors it moved.
        p: corrected for the number of comparisons (Holm).
    """

    part: str
    classes: list[str]
    train: float
    other: float
    deviations: float
    p: float


@dataclass(frozen=True)
class Leak:
    """What stands in two parts.

    Attributes:
        kind: image (of which two regions are items), group, camera, copy, near copy, or related.
        parts: the two.
        found: how many items, images or values of the later part stand in the earlier too.
        of: how many there are in the later part.
        examples: some of them.
        column: whose values they are, of a group, a camera, or what looks like one.
    """

    kind: str
    parts: tuple[str, str]
    found: int
    of: int
    examples: list[str]
    column: str = ""


@dataclass(frozen=True)
class RelatedRows:
    """A column that looks like what several rows belong to, though nobody says so.

    Attributes:
        column: its name.
        values: how many different ones it has.
        rows: how many rows have one.
        leaks: values that stand in two parts.
    """

    column: str
    values: int
    rows: int
    leaks: list[Leak]


@dataclass(frozen=True)
class CopyPair:
    """Two items that are copies: bits of the hash that differ, likeness of colours, known labels that differ."""

    first: str
    second: str
    parts: tuple[str, str]
    distance: int
    likeness: float
    differing: int


@dataclass(frozen=True)
class CopyFacts:
    """Copies among the images, or among the rows of a table of features.

    Attributes:
        compared: how many items were compared.
        unreadable: items that cannot be read, and why.
        exact: groups of items with the same bytes.
        contradicted: pairs of those (each with the first of its group) whose known labels differ.
        near: pairs that look nearly the same.
        groups: items joined by either, also through others, largest first.
        label_changes: the share of known labels that differ between near copies; None without any.
    """

    compared: int
    unreadable: dict[str, str]
    exact: list[list[str]]
    contradicted: list[CopyPair]
    near: list[CopyPair]
    groups: list[list[str]]
    label_changes: float | None


@dataclass(frozen=True)
class UnknownBySource:
    """The share of unknown labels of each source (S) and class: `shares[source][class]`."""

    sources: list[str]
    items: list[int]
    shares: list[list[float]]


@dataclass(frozen=True)
class Facts:
    """What was counted. Label counts are of the training part; `group` is the column that keeps rows together."""

    source: str
    items: int
    parts: dict[str, int]
    features: list[int] | None
    classes: list[ClassFacts]
    density: float
    unknown_share: float
    imbalance: float | None
    tiers: dict[str, int]
    pairs: list[Pair]
    implications: Strongest[Implication]
    exclusions: Strongest[Exclusion]
    prevalence_shifts: Strongest[PartShift]
    pair_shifts: Strongest[PartShift]
    missing_files: list[str]
    in_two_parts: list[str]
    contradicted: list[str]
    always_present: list[str]
    leaks: list[Leak]
    copies: CopyFacts | None
    by_source: UnknownBySource | None
    notes: list[str]
    group: str | None
    related: list[RelatedRows]
