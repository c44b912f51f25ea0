"""From finished runs to results: one row per run and class, the leaderboard, the differences, the verdict."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from rarecall import metrics, statistics
from rarecall.audit import Audit
from rarecall.errors import StudyError, listing
from rarecall.files import write_bytes
from rarecall.labels import count, measured_groups, tiers
from rarecall.statistics import Comparison, Contender, Interval, mean_and_deviation
from rarecall.studies.runner import Study
from rarecall.studies.runs import Job, Run, total_seconds
from rarecall.studies.summary import Curve, Difference, Entry, NotFound, OverSeeds, RateSearch, Spread, Summary
from rarecall.studies.verdict import figure_of, how_chosen, verdict

ROWS = "results.parquet"
COLUMNS = (
    "loss", "rate", "seed", "tuned", "common", "epoch", "class", "tier", "positives_train", "positives_test",
    "unknown_test", "ap", "precision", "recall", "f1", "threshold",
)  # fmt: skip
NOT_FOUND = 0.10
Groups = Mapping[str, np.ndarray]
Runs = dict[str, list[Run]]  # of each loss, one for each seed


@dataclass(frozen=True)
class Results:
    """Everything that the terminal, the files and the report show.

    Attributes:
        rows: one row per run and class.
        summary: the content of summary.json.
    """

    rows: pl.DataFrame
    summary: Summary

    def write(self, out: Path) -> None:
        """Write results.parquet and summary.json, each in one step."""
        buffer = io.BytesIO()
        self.rows.write_parquet(buffer)
        write_bytes(out / ROWS, buffer.getvalue())
        self.summary.write(out)

    @classmethod
    def read(cls, out: Path) -> "Results":
        """Read the results of a finished study.

        Raises:
            StudyError: the folder holds no finished study, or one that is damaged or of an earlier or a later form.
        """
        summary = Summary.read(out)
        try:
            rows = pl.read_parquet(out / ROWS)
        except (OSError, pl.exceptions.PolarsError) as error:
            first = str(error).partition("\n")[0]
            raise StudyError(f"{out / ROWS}: is damaged or missing ({first}): run the study again") from None
        if lacking := [name for name in COLUMNS if name not in rows.columns]:
            raise StudyError(f"{out / ROWS}: is damaged: lacks {listing(lacking)}: run the study again")
        return cls(rows, summary)


def collect(study: Study, audit: Audit, *, command: str, train_command: str, notes: list[str]) -> Results:
    """Compute the results of a study.

    Args:
        study: whose runs are all finished.
        audit: of its data.
        command: that made it, for the record.
        train_command: that trains its winner.
        notes: what a reader should know.
    """
    rows, targets = _rows(study), _targets(study)
    groups = measured_groups(targets.numpy(), _train_positives(study))
    tuned, common = _leaderboards(study, targets, groups)
    summary = Summary(
        torch=torch.__version__,
        command=command,
        train_command=train_command,
        seeds=study.plan.seeds,
        losses=list(study.plan.losses),
        protocol=study.plan.protocol,
        backbone=study.backbone,
        rates=_rates(study),
        curves={loss: [_curve(run) for run in study.tuned(loss)] for loss in study.plan.losses},
        counted_classes={group: len(members) for group, members in groups.items()},
        tuned=tuned.entries,
        common=common.entries,
        not_found=_not_found(rows, len(targets)),
        not_measured=_not_measured(study),
        notes=[*notes, *how_chosen(study.plan.protocol), *_diverged(study)],
        seconds={part: round(value, 2) for part, value in total_seconds(list(study.runs.values())).items()},
        data=audit,
    )
    return Results(rows, summary.model_copy(update={"verdict": verdict(summary, tuned.over_seeds)}))


@dataclass(frozen=True)
class _Leaderboard:
    entries: list[Entry]
    over_seeds: dict[str, Comparison]


def _leaderboards(study: Study, targets: torch.Tensor, groups: Groups) -> tuple[_Leaderboard, _Leaderboard]:
    """Each loss at its own rate, and all at the common one; a run that stands in both is measured once."""
    losses = study.plan.losses
    settings = ({loss: study.tuned(loss) for loss in losses}, {loss: study.common(loss) for loss in losses})
    runs = {run.job: run for own in settings for several in own.values() for run in several}
    figures = {job: metrics.summarise(run.scores, targets, run.thresholds, groups) for job, run in runs.items()}
    scores = {
        str(place): {loss: [run.scores for run in runs] for loss, runs in own.items()}
        for place, own in enumerate(settings)
    }
    differences = statistics.differences_to_best(scores, targets, groups)
    tuned, common = (_leaderboard(own, figures, differences[str(place)], groups) for place, own in enumerate(settings))
    return tuned, common


def _targets(study: Study) -> torch.Tensor:
    return torch.from_numpy(study.table.labels[study.table.part("test")])


def _train_positives(study: Study) -> np.ndarray:
    return count(study.table.labels[study.table.part("train")]).present


def _rows(study: Study) -> pl.DataFrame:
    """One row per run and class."""
    table, targets = study.table, _targets(study)
    positives, test = _train_positives(study), count(table.labels[table.part("test")])
    of_classes = {
        "class": list(table.names),
        "tier": tiers(positives),
        "positives_train": positives,
        "positives_test": test.present,
        "unknown_test": test.unknown,
    }
    runs = [
        pl.DataFrame({**_of_run(study, run, len(positives)), **of_classes, **_measured(run, targets)})
        for run in study.runs.values()
    ]
    return pl.concat(runs).sort("loss", "rate", "seed", maintain_order=True)


def _of_run(study: Study, run: Run, classes: int) -> dict[str, list[Any]]:
    """What all rows of a run have in common."""
    values = {
        "loss": run.job.loss,
        "rate": run.job.rate,
        "seed": run.job.seed,
        "tuned": run.job.rate == study.chosen[run.job.loss],
        "common": run.job.rate == study.plan.protocol.common_rate,
        "epoch": run.epoch,
    }
    return {name: [value] * classes for name, value in values.items()}


def _measured(run: Run, targets: torch.Tensor) -> dict[str, pl.Series]:
    """The figures of each class, null where there is none, and its threshold."""
    decisions = metrics.precision_recall_f1(run.scores >= run.thresholds, targets)
    columns = {
        "ap": metrics.average_precision(run.scores, targets),
        "precision": decisions.precision,
        "recall": decisions.recall,
        "f1": decisions.f1,
        "threshold": run.thresholds.double(),
    }
    return {name: pl.Series(name, values.numpy(), nan_to_null=True) for name, values in columns.items()}


def _leaderboard(
    runs: Runs, figures: Mapping[Job, dict[str, float]], differences: dict[str, dict[str, Interval]], groups: Groups
) -> _Leaderboard:
    """One entry for each loss, the best mAP@class first."""
    of_loss = {loss: [figures[run.job] for run in own] for loss, own in runs.items()}
    over_seeds = _over_seeds(of_loss, groups)
    entries = [
        Entry(
            loss=loss,
            rate=own[0].job.rate,
            epochs=[run.epoch for run in own],
            figures={name: _spread([value[name] for value in of_loss[loss]]) for name in of_loss[loss][0]},
            to_best={group: _difference(found[loss]) for group, found in differences.items()},
            over_seeds={group: _tested(loss, comparison) for group, comparison in over_seeds.items()},
            validation=_percent(mean_and_deviation([run.validation for run in own])[0]),
        )
        for loss, own in runs.items()
    ]
    return _Leaderboard(sorted(entries, key=lambda entry: -entry.figures["map_class"].mean), over_seeds)


def _over_seeds(figures: dict[str, list[dict[str, float]]], groups: Groups) -> dict[str, Comparison]:
    """For each group of classes, the losses compared over seeds by their mAP there, in percent."""
    return {
        group: statistics.compare(
            {loss: [100 * value[figure_of(group)] for value in own] for loss, own in figures.items()}
        )
        for group in groups
    }


def _spread(values: list[float]) -> Spread:
    mean, deviation = mean_and_deviation(values)
    return Spread(mean=round(100 * mean, 3), sd=_percent(deviation))


def _difference(found: Interval) -> Difference:
    return Difference(**{name: round(100 * getattr(found, name), 3) for name in ("mean", "low", "high")})


def _tested(loss: str, comparison: Comparison) -> OverSeeds | None:
    """The paired tests over seeds of a loss against the best; None of the best itself."""
    return next((_of_tests(other) for other in comparison.others if other.name == loss), None)


def _of_tests(other: Contender) -> OverSeeds:
    numbers = {
        "difference": other.difference,
        "sd": other.difference_deviation,
        "t_p": other.t_test.p_value,
        "t_p_holm": other.t_adjusted,
        "wilcoxon_p": other.wilcoxon.p_value,
        "wilcoxon_p_holm": other.wilcoxon_adjusted,
        "wilcoxon_smallest_p": other.wilcoxon.smallest_p,
        "hedges_g": other.effect,
    }
    known = {name: round(value, 6) if np.isfinite(value) else None for name, value in numbers.items()}
    return OverSeeds(**known, seeds_needed=other.seeds_needed)


def _rates(study: Study) -> dict[str, RateSearch]:
    return {
        loss: RateSearch(
            validation={f"{rate:g}": _percent(run.validation) for rate, run in study.search(loss).items()},
            chosen=study.chosen[loss],
        )
        for loss in study.plan.losses
    }


def _not_found(rows: pl.DataFrame, test_items: int) -> list[NotFound]:
    """Classes that no loss finds: mean AP less than a tenth of the way from chance to 1, with every loss.

    Chance is the AP of a random order of many items: the share of positives among the known test labels.
    """
    known = test_items - pl.col("unknown_test")
    facts = [pl.col(name).first() for name in ("positives_train", "positives_test", "chance")]
    best = (
        rows.filter(pl.col("tuned") & pl.col("ap").is_not_null())
        .with_columns((pl.col("positives_test") / known).alias("chance"))
        .group_by("class", "loss", maintain_order=True)
        .agg(pl.col("ap").mean(), *facts)
        .group_by("class", maintain_order=True)
        .agg(pl.col("ap").max().alias("best_ap"), *facts)
        .filter(pl.col("best_ap") < pl.col("chance") + NOT_FOUND * (1 - pl.col("chance")))
        .sort("positives_train", maintain_order=True)
        .rename({"class": "name"})
        .with_columns((pl.col("best_ap", "chance") * 100).round(3))
    )
    return [NotFound(**row) for row in best.to_dicts()]


def _not_measured(study: Study) -> list[str]:
    silent = ~(_targets(study) > 0).any(0).numpy()
    return [str(name) for name, quiet in zip(study.table.names, silent, strict=True) if quiet]


def _curve(run: Run) -> Curve:
    return Curve(
        train_loss=[round(value, 6) for value in run.train_loss.tolist()],
        val_map=[round(100 * value, 3) for value in run.val_map.tolist()],
    )


def _diverged(study: Study) -> list[str]:
    lost = [
        f"{run.job.loss} at rate {run.job.rate:g}, seed {run.job.seed}" for run in study.runs.values() if run.diverged
    ]
    return [f"{len(lost)} runs diverged and keep their best epoch before that: {listing(lost)}"] if lost else []


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * value, 3)
