"""summary.json: what a finished study found, as typed values that are read back as they were written."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rarecall import __version__
from rarecall.audit import Audit
from rarecall.errors import StudyError
from rarecall.files import write_text
from rarecall.studies.folder import STUDY
from rarecall.studies.plan import Protocol

FORMAT = 2
FILE = "summary.json"


class Part(BaseModel):
    """What every part of the summary is: fixed, without unknown keys, and of finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(Part):
    """A figure in percent: mean over seeds, and sample standard deviation; None of one seed."""

    mean: float
    sd: float | None


class Difference(Part):
    """A paired difference to the best loss in points, 0 or less, with its 95 % interval."""

    mean: float
    low: float
    high: float


class OverSeeds(Part):
    """The paired tests over seeds of one loss against the best; None where nothing can be said.

    Attributes:
        difference, sd: mean over seeds and sample standard deviation, in points.
        t_p, t_p_holm: p-value of the t-test, and after Holm's correction.
        wilcoxon_p, wilcoxon_p_holm, wilcoxon_smallest_p: the same of the signed-rank test, and the smallest p-value
            that so many seeds can give.
        hedges_g: effect of the pairs.
        seeds_needed: to show a difference like this in 8 of 10 studies.
    """

    difference: float | None
    sd: float | None
    t_p: float | None
    t_p_holm: float | None
    wilcoxon_p: float | None
    wilcoxon_p_holm: float | None
    wilcoxon_smallest_p: float | None
    hedges_g: float | None
    seeds_needed: int | None


class Entry(Part):
    """A line of a leaderboard.

    Attributes:
        loss, rate: what was trained.
        epochs: the one that each seed kept.
        figures: of the test part, in percent.
        to_best: on each group of classes.
        over_seeds: on each group of classes; None of the best there.
        validation: mean mAP@class in percent where choices were made; None if nothing was held out.
    """

    loss: str
    rate: float
    epochs: list[int]
    figures: dict[str, Spread]
    to_best: dict[str, Difference]
    over_seeds: dict[str, OverSeeds | None]
    validation: float | None


class RateSearch(Part):
    """The rate that a loss chose, and the validation mAP@class in percent of each rate with the first seed."""

    validation: dict[str, float | None]
    chosen: float


class Curve(Part):
    """Training loss and validation mAP@class (percent) of each epoch; the second is empty if nothing was held out."""

    train_loss: list[float]
    val_map: list[float]


class NotFound(Part):
    """A class that no loss finds: its counts, the best AP and that of chance, in percent."""

    name: str
    best_ap: float
    chance: float
    positives_train: int
    positives_test: int


class Summary(Part):
    """The content of summary.json.

    Attributes:
        format: raised when a reader of before could not read it.
        rarecall, torch: versions.
        command: that made it.
        train_command: that trains the winner.
        seeds: how many.
        losses: in the order of the command.
        protocol: that every loss was trained under.
        backbone: of images.
        rates: of each loss.
        curves: of each loss at its own rate, one for each seed.
        counted_classes: how many classes have a test positive, in all and by tier.
        tuned: the leaderboard with each loss at its own rate, the best first.
        common: the same at the rate that all share.
        not_found: classes that no loss finds.
        not_measured: classes without a test positive.
        notes: what a reader should know.
        seconds: spent in training and evaluation, over all runs.
        data: the audit.
        verdict: in sentences.
    """

    format: int = FORMAT
    rarecall: str = __version__
    torch: str
    command: str
    train_command: str
    seeds: int
    losses: list[str]
    protocol: Protocol
    backbone: dict[str, Any] | None
    rates: dict[str, RateSearch]
    curves: dict[str, list[Curve]]
    counted_classes: dict[str, int]
    tuned: list[Entry] = Field(min_length=1)
    common: list[Entry] = Field(min_length=1)
    not_found: list[NotFound]
    not_measured: list[str]
    notes: list[str]
    seconds: dict[str, float]
    data: Audit
    verdict: list[str] = []

    def leaderboard(self) -> pl.DataFrame:
        """One row for each loss at its own rate, the best first.

        Columns: `loss`, `rate`, each figure and its deviation over seeds (`<figure>_sd`) in percent, the difference to
        the best on all classes with its interval (`difference`, `difference_low`, `difference_high`), `validation`.
        """
        rows = pl.DataFrame([_row(entry) for entry in self.tuned], infer_schema_length=None)
        return rows.with_columns(pl.exclude("loss").cast(pl.Float64))

    def write(self, folder: Path) -> None:
        """Write summary.json in one step."""
        write_text(folder / FILE, self.model_dump_json(indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Summary":
        """The summary of a finished study.

        Raises:
            StudyError: there is no study, or it is not finished, damaged, or of an earlier or a later form.
        """
        STUDY.read_identity(folder, "run the study again")
        stored = _stored(folder)
        if stored["format"] > FORMAT:
            raise StudyError(
                f"{folder}: was written by rarecall {stored.get('rarecall')}, later than this {__version__}: "
                "upgrade to read it"
            )
        if stored["format"] < FORMAT:
            raise StudyError(f"{folder}: is of an earlier form: run the study again")
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            first = error.errors()[0]
            raise _damaged(folder, f" at {'.'.join(map(str, first['loc']))} ({first['msg']})") from None


def _row(entry: Entry) -> dict[str, Any]:
    figures: dict[str, float | None] = {}
    for name, figure in entry.figures.items():
        figures |= {name: figure.mean, f"{name}_sd": figure.sd}
    behind = entry.to_best["all"]
    return {
        "loss": entry.loss, "rate": entry.rate, **figures,
        "difference": behind.mean, "difference_low": behind.low, "difference_high": behind.high,
        "validation": entry.validation,
    }  # fmt: skip


def _stored(folder: Path) -> dict[str, Any]:
    """The JSON with the number of its form."""
    try:
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{folder}: the study is not finished: run the same 'rarecall study' command again") from None
    except (OSError, ValueError) as error:
        raise _damaged(folder, f" ({error})") from None
    if not isinstance(stored, dict) or not isinstance(stored.get("format"), int):
        raise _damaged(folder, " at format (there is none)")
    return stored


def _damaged(folder: Path, where: str) -> StudyError:
    return StudyError(f"{folder / FILE}: is damaged{where}: run the study again")
