"""What the facts of an audit mean: findings with a code, a severity, a sentence and its numbers.

| codes | on |
|---|---|
| RC1xx | files, items and names |
| RC2xx | leaks between parts, and copies |
| RC3xx | classes and labels |
| RC4xx | pairs of classes |
| RC5xx | sources that were merged |
| RC6xx | shifts between parts |
| RC7xx | the noise of the figures |

An `error` makes figures wrong, a `warning` means that something is lost, `advice` says what follows for a study.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rarecall.audit.facts import Facts, Leak
from rarecall.data.splits import HELD_OUT, SCARCE
from rarecall.errors import counted, listing
from rarecall.labels import MEDIUM_POSITIVES

SEVERITIES = ("error", "warning", "advice")
NEARLY_SAME = 0.9
IMBALANCED = 50
EXAMPLES = 3
UNTAUGHT = 0.99
PART_WORDS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        code: RC and three digits; the same finding has the same code in every audit.
        severity: error, warning or advice.
        sentence: what, where and what to do.
        numbers: what the sentence counts.
    """

    code: str
    severity: str
    sentence: str
    numbers: dict[str, Any]


def findings(facts: Facts) -> list[Finding]:
    """All findings, errors first and then by code."""
    found = [one for check in CHECKS for one in check(facts)]
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.code))


def _files(facts: Facts) -> Iterator[Finding]:
    missing = facts.missing_files
    if missing:
        yield Finding(
            "RC101",
            "warning",
            f"{len(missing):,} of {facts.items:,} image files are missing ({listing(missing, EXAMPLES)}): "
            "a study leaves them out; check the folder",
            {"missing": len(missing), "items": facts.items},
        )
    unreadable = {} if facts.copies is None else dict(facts.copies.unreadable)
    for item in missing:
        unreadable.pop(item, None)
    if unreadable:
        item, reason = next(iter(unreadable.items()))
        yield Finding(
            "RC102",
            "warning",
            f"{counted(len(unreadable), 'image', 'images')} cannot be read ({listing(unreadable, EXAMPLES)}; the "
            f"first, {item}: {reason}): a study leaves them out; mend or remove them",
            {"unreadable": len(unreadable), "items": facts.items},
        )


def _names(facts: Facts) -> Iterator[Finding]:
    if facts.contradicted:
        found = listing(facts.contradicted, EXAMPLES)
        yield Finding(
            "RC103",
            "error",
            f"items that stand twice with contradicting labels: {found}; keep one row of each",
            {"items": len(facts.contradicted)},
        )
    if odd := odd_names([row.name for row in facts.classes]):
        yield Finding(
            "RC104",
            "warning",
            f"class names that look mangled, or differ only in case: {listing(odd)}; check separator and spelling",
            {"classes": odd},
        )


def odd_names(names: Sequence[str]) -> list[str]:
    """Class names that look like several tags, or that differ from another only in case.

    >>> odd_names(["red|green", "Hat", "hat", "bag"])
    ['red|green', 'Hat', 'hat']
    """
    folded = Counter(name.lower() for name in names)
    return [name for name in names if set(name) & set("|;[]'\"") or folded[name.lower()] > 1]


# Of each kind of leak: code, severity where the test part is in it and where not, what stands where, and what to do.
_LEAKS = {
    "image": ("RC202", "error", "warning", "images have regions in two parts", "keep each image in one part"),
    "group": ("RC203", "error", "warning", "values of {column} stand in two parts", "split by {column}"),
    "copy": ("RC204", "error", "warning", "items are copies of an item of an earlier part", "keep one of each"),
    "near copy": (
        "RC205",
        "warning",
        "warning",
        "images look nearly the same as one of an earlier part",
        "look at them, and keep each group of near copies in one part",
    ),
    "camera": ("RC206", "advice", "advice", "cameras stand in two parts", ""),
}


def _leaks(facts: Facts) -> Iterator[Finding]:
    if facts.in_two_parts:
        shown = listing(facts.in_two_parts, EXAMPLES)
        yield Finding(
            "RC201",
            "error",
            f"{counted(len(facts.in_two_parts), 'item stands', 'items stand')} in two parts ({shown}): test figures "
            "will be too good; keep each item in one part",
            {"items": len(facts.in_two_parts)},
        )
    for kind, column in dict.fromkeys((leak.kind, leak.column) for leak in facts.leaks):
        yield _leak(kind, column, [leak for leak in facts.leaks if (leak.kind, leak.column) == (kind, column)])


def _leak(kind: str, column: str, leaks: Sequence[Leak]) -> Finding:
    code, with_test, without, what, todo = _LEAKS[kind]
    severity = with_test if any(leak.parts[1] == "test" for leak in leaks) else without
    follows = (
        "figures hold for these cameras; to know them for new ones, hold a camera out"
        if kind == "camera"
        else f"{_too_good(leaks)}; {todo.format(column=column)}"
    )
    return Finding(code, severity, f"{what.format(column=column)} ({_counts(leaks)}): {follows}", _by_parts(leaks))


def _related(facts: Facts) -> Iterator[Finding]:
    for one in facts.related:
        torn = bool(one.leaks)
        name = one.column
        consequence = (
            f"{_counts(one.leaks)}: {_too_good(one.leaks)}; --group {name} keeps the rows of each in one part where "
            "parts are made, and parts that the data brings are to be made anew"
            if torn
            else f"--group {name} keeps the rows of each in one part"
        )
        yield Finding(
            "RC207",
            "warning" if torn and facts.group is None else "advice",
            f"column {name} looks like what rows belong to ({one.values:,} values of {one.rows:,} rows): {consequence}",
            {"column": name, "values": one.values, "rows": one.rows, **_by_parts(one.leaks)},
        )


def _by_parts(leaks: Sequence[Leak]) -> dict[str, Any]:
    return {f"{leak.parts[0]}-{leak.parts[1]}": {"found": leak.found, "of": leak.of} for leak in leaks}


def _counts(leaks: Sequence[Leak]) -> str:
    return "; ".join(
        f"{leak.found:,} of {leak.of:,} of {PART_WORDS[leak.parts[1]]} are in {PART_WORDS[leak.parts[0]]}"
        + ("" if leak.kind == "camera" else f", as {leak.examples[0]}")
        for leak in leaks
    )


def _too_good(leaks: Sequence[Leak]) -> str:
    if any(leak.parts[1] == "test" for leak in leaks):
        return "test figures will be too good"
    return "validation figures, by which epochs and thresholds are chosen, will be too good"


def _copies(facts: Facts) -> Iterator[Finding]:
    copies = facts.copies
    if copies is None:
        return
    if copies.exact:
        spare = sum(len(group) - 1 for group in copies.exact)
        yield Finding(
            "RC211",
            "advice",
            f"{spare:,} of {copies.compared:,} items are copies, byte for byte, of another "
            f"({listing(copies.exact[0], EXAMPLES)}): they count twice",
            {"copies": spare, "groups": len(copies.exact), "items": copies.compared},
        )
    if copies.contradicted:
        first = copies.contradicted[0]
        yield Finding(
            "RC212",
            "warning",
            f"{counted(len(copies.contradicted), 'copy has', 'copies have')} labels that contradict the original's "
            f"({first.first} and {first.second} in {first.differing}): one of them is wrong",
            {"pairs": len(copies.contradicted), "labels": sum(one.differing for one in copies.contradicted)},
        )
    if copies.near:
        differing = "" if not copies.label_changes else f"; {copies.label_changes:.1%} of their labels differ"
        yield Finding(
            "RC213",
            "advice",
            f"{counted(len(copies.near), 'pair of images looks', 'pairs of images look')} nearly the same, in "
            f"{counted(len(copies.groups), 'group', 'groups')} of up to "
            f"{len(copies.groups[0])}{differing}: there is less to learn from than the count says",
            {"pairs": len(copies.near), "groups": len(copies.groups), "label_changes": copies.label_changes},
        )


def _classes(facts: Facts) -> Iterator[Finding]:
    empty = [row.name for row in facts.classes if row.positives == 0]
    if empty:
        yield _of_classes("RC301", "warning", "classes without a training positive, which nothing can learn", empty)
    if facts.always_present:
        words = "classes never absent in train, whose figures say nothing"
        yield _of_classes("RC302", "warning", words, facts.always_present)
    scarce = [row.name for row in facts.classes if 0 < row.positives < SCARCE]
    if scarce:
        words = f"classes with fewer than {SCARCE} training positives, too few to learn from"
        yield _of_classes("RC303", "warning", words, scarce, "; find more, merge or drop them")
    few = [row.name for row in facts.classes if 0 < row.positives < MEDIUM_POSITIVES]
    if few:
        words = f"tail classes, with fewer than {MEDIUM_POSITIVES} training positives"
        follows = "; their figures swing with the seed, so compare losses over 5 seeds or more"
        yield _of_classes("RC304", "advice", words, few, follows)


def _measured_classes(facts: Facts) -> Iterator[Finding]:
    if facts.parts["test"]:
        if blind := [row.name for row in facts.classes if row.positives_test == 0]:
            words = "classes without a test positive, for which there can be no result"
            yield _of_classes("RC305", "advice", words, blind)
        if full := [row.name for row in facts.classes if row.positives_test and not row.absent_test]:
            yield _of_classes("RC306", "advice", "classes never absent in test, whose AP is 100 whatever is said", full)
    else:
        yield Finding(
            "RC309",
            "advice",
            f"no test part: a study takes 20 % of train, stratified{_by_group(facts)}",
            {},
        )
    if facts.parts["val"] and (
        unchosen := [row.name for row in facts.classes if row.positives_val == 0 and row.positives > 0]
    ):
        words = "classes without a validation positive, for which no threshold can be fitted"
        yield _of_classes("RC307", "advice", words, unchosen)


def _by_group(facts: Facts) -> str:
    """How rows that belong together are kept so."""
    related = "; bring your own where items are related, or name the column that says so with --group"
    return related if facts.group is None else f", by {facts.group}"


def _balance(facts: Facts) -> Iterator[Finding]:
    if facts.imbalance and facts.imbalance > IMBALANCED:
        yield Finding(
            "RC308",
            "advice",
            f"the most frequent class has {facts.imbalance:,.0f} times the positives of the rarest: losses that rank "
            "(two-way, distributionally-robust) are worth trying beside cross-entropy",
            {"imbalance": facts.imbalance},
        )
    if facts.unknown_share > 0:
        yield Finding(
            "RC310",
            "advice",
            f"{facts.unknown_share:.1%} of the training labels are unknown: every loss here leaves them out; "
            "taking them as absent is a choice you would have to make by name",
            {"unknown_share": facts.unknown_share},
        )


def _pairs(facts: Facts) -> Iterator[Finding]:
    if same := [pair for pair in facts.pairs if pair.correlation > NEARLY_SAME]:
        words = (
            f"{pair.first} and {pair.second} are nearly the same label (φ = {pair.correlation:.2f})" for pair in same
        )
        yield Finding("RC401", "advice", f"{'; '.join(words)}: one may be enough", {"pairs": len(same)})
    implied = facts.implications
    if implied.found:
        exceptions = sum(one.exceptions for one in implied.strongest)
        shown = (
            f"{one.first} ⇒ {one.second} ({one.items - one.exceptions:,} of {one.items:,})" for one in implied.strongest
        )
        yield Finding(
            "RC402",
            "advice",
            f"classes that hardly occur without another: {listing(shown, EXAMPLES)}"
            + ("; the few exceptions may be errors" if exceptions else ""),
            {"pairs": implied.found, "exceptions": exceptions},
        )
    if facts.exclusions.found:
        shown = (f"{one.first} + {one.second} ({one.expected:,.0f})" for one in facts.exclusions.strongest)
        yield Finding(
            "RC403",
            "advice",
            "pairs that never occur together, and how often chance alone would have them: "
            f"{listing(shown, EXAMPLES)}; they exclude each other, or one was not labelled where the other was",
            {"pairs": facts.exclusions.found},
        )


def _sources(facts: Facts) -> Iterator[Finding]:
    if facts.by_source is None:
        return
    taught = {
        row.name: [
            source
            for source, shares in zip(facts.by_source.sources, facts.by_source.shares, strict=True)
            if shares[place] < UNTAUGHT
        ]
        for place, row in enumerate(facts.classes)
    }
    if never := [name for name, sources in taught.items() if not sources]:
        yield _of_classes("RC501", "warning", "classes that no source labels, so that none can teach them", never)
    if once := [f"{name} ({sources[0]})" for name, sources in taught.items() if len(sources) == 1]:
        words = "classes that only one source labels"
        follows = "; what is learnt of them holds for images like that source's"
        yield _of_classes("RC502", "advice", words, once, follows)


def _shifts(facts: Facts) -> Iterator[Finding]:
    if facts.prevalence_shifts.found:
        shown = (
            f"{one.classes[0]} ({one.train:.1%} in train, {one.other:.1%} in {PART_WORDS[one.part]})"
            for one in facts.prevalence_shifts.strongest
        )
        yield Finding(
            "RC601",
            "advice",
            f"classes more or less frequent than in train by more than chance: {listing(shown, EXAMPLES)}; "
            "thresholds and AP depend on the share of positives",
            {"shifts": facts.prevalence_shifts.found},
        )
    if facts.pair_shifts.found:
        shown = (f"{' + '.join(one.classes)} ({PART_WORDS[one.part]})" for one in facts.pair_shifts.strongest)
        yield Finding(
            "RC602",
            "advice",
            f"pairs bound to each other otherwise than in train by more than chance: {listing(shown, EXAMPLES)}; "
            "a model that leans on the bond will fail there",
            {"shifts": facts.pair_shifts.found},
        )


def _noise(facts: Facts) -> Iterator[Finding]:
    known = [row for row in facts.classes if row.deviation is not None and row.needed_5 is not None]
    if not known:
        return
    measured = [row.positives_test if facts.parts["test"] else round(HELD_OUT * row.positives) for row in known]
    enough_5 = sum(own >= (row.needed_5 or 0) for own, row in zip(measured, known, strict=True))
    enough_1 = sum(own >= (row.needed_1 or 0) for own, row in zip(measured, known, strict=True))
    middle = sorted(known, key=lambda row: row.needed_5 or 0)[len(known) // 2]
    deviations = [row.deviation for row in known if row.deviation is not None]
    of_mean = sum(one**2 for one in deviations) ** 0.5 / len(deviations)
    yield Finding(
        "RC701",
        "advice",
        f"by the test items alone the AP of a class swings by ± {min(deviations):.1f} to {max(deviations):.1f} points "
        f"and mAP by about ± {of_mean:.1f}: to see 5 points in a class takes some {middle.needed_5:,} test positives "
        f"({enough_5} of {len(known)} classes have enough), to see 1 point {middle.needed_1:,} ({enough_1})",
        {
            "smallest": min(deviations),
            "largest": max(deviations),
            "of_map": round(of_mean, 2),
            "needed_5": middle.needed_5,
            "needed_1": middle.needed_1,
            "classes": len(known),
            "enough_5": enough_5,
            "enough_1": enough_1,
        },
    )


def _of_classes(code: str, severity: str, words: str, names: Sequence[str], follows: str = "") -> Finding:
    return Finding(code, severity, f"{words}: {listing(names)}{follows}", {"classes": len(names), "names": list(names)})


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _files,
    _names,
    _leaks,
    _related,
    _copies,
    _classes,
    _measured_classes,
    _balance,
    _pairs,
    _sources,
    _shifts,
    _noise,
)
