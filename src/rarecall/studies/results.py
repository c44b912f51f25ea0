"""From finished runs to results: one row per run and class, the leaderboard, the differences, the verdict."""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from rarecall import __version__, metrics, statistics
from rarecall.audit import Audit
from rarecall.errors import StudyError, listing
from rarecall.files import write_bytes, write_text
from rarecall.labels import UNKNOWN, count, measured_groups, tiers
from rarecall.statistics import Comparison, Contender, Interval, mean_and_deviation
from rarecall.studies.folder import STUDY
from rarecall.studies.runner import Study
from rarecall.studies.runs import Run, total_seconds
from rarecall.studies.verdict import figure_of, verdict

SUMMARY_FORMAT = 1
NOT_FOUND = 0.10
_KEYS = {
    "format", "rarecall", "torch", "command", "seeds", "losses", "protocol", "backbone", "rates", "curves",
    "counted_classes", "tuned", "common", "not_found", "not_measured", "notes", "seconds", "data", "verdict",
}  # fmt: skip


@dataclass(frozen=True)
class Results:
    """Everything that the terminal, the files and the report show.

    Attributes:
        rows: one row per run and class.
        summary: the content of summary.json.
    """

    rows: pl.DataFrame
    summary: dict[str, Any]

    def write(self, out: Path) -> None:
        """Write results.parquet and summary.json, each in one step."""
        buffer = io.BytesIO()
        self.rows.write_parquet(buffer)
        write_bytes(out / "results.parquet", buffer.getvalue())
        write_text(out / "summary.json", json.dumps(self.summary, indent=1, allow_nan=False))

    @classmethod
    def read(cls, out: Path) -> "Results":
        """Read the results of a finished study.

        Raises:
            StudyError: the folder holds no finished study, or one of a later version.
        """
        STUDY.read_identity(out)
        try:
            summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
            rows = pl.read_parquet(out / "results.parquet")
        except (OSError, ValueError, pl.exceptions.PolarsError):
            raise StudyError(f"{out}: the study is not finished or its results are damaged: run it again") from None
        if not isinstance(summary, dict) or not summary.keys() >= _KEYS:
            raise StudyError(f"{out / 'summary.json'}: its results are damaged: run the study again")
        if summary["format"] > SUMMARY_FORMAT:
            raise StudyError(f"{out}: written by a later rarecall, {summary.get('rarecall')}: upgrade to read it")
        return cls(rows, summary)


def collect(study: Study, facts: Audit, command: str, notes: list[str]) -> Results:
    """Compute the results of a study."""
    rows = pl.concat([_run_rows(study, run) for run in study.runs.values()])
    rows = rows.sort("loss", "rate", "seed", maintain_order=True)
    targets = _targets(study)
    groups = measured_groups(targets.numpy(), _train_positives(study))
    losses = study.plan.losses
    settings = {
        "tuned": {loss: study.tuned(loss) for loss in losses},
        "common": {loss: study.common(loss) for loss in losses},
    }
    differences = statistics.differences_to_best(
        {name: {loss: [run.scores for run in runs] for loss, runs in own.items()} for name, own in settings.items()},
        targets,
        groups,
    )
    figures = {
        name: {loss: [_figures(run, targets, groups) for run in runs] for loss, runs in own.items()}
        for name, own in settings.items()
    }
    over_seeds = {name: _over_seeds(own, groups) for name, own in figures.items()}
    leaderboards = {
        name: _leaderboard(own, figures[name], differences[name], over_seeds[name]) for name, own in settings.items()
    }
    summary = {
        "format": SUMMARY_FORMAT,
        "rarecall": __version__,
        "torch": torch.__version__,
        "command": command,
        "seeds": study.plan.seeds,
        "losses": list(study.plan.losses),
        "protocol": study.plan.protocol.model_dump(mode="json"),
        "backbone": study.backbone,
        "rates": _rates(study),
        "curves": {loss: [_curve(run) for run in study.tuned(loss)] for loss in study.plan.losses},
        "counted_classes": {group: len(members) for group, members in groups.items()},
        "tuned": leaderboards["tuned"],
        "common": leaderboards["common"],
        "not_found": _not_found(rows, len(targets)),
        "not_measured": _not_measured(study),
        "notes": notes + _diverged(study),
        "seconds": {part: round(value, 2) for part, value in total_seconds(list(study.runs.values())).items()},
        "data": facts.as_dict(),
    }
    summary["verdict"] = verdict(summary, over_seeds["tuned"])
    return Results(rows, summary)


def _targets(study: Study) -> torch.Tensor:
    return torch.from_numpy(study.table.labels[study.table.part("test")])


def _train_positives(study: Study) -> np.ndarray:
    return count(study.table.labels[study.table.part("train")]).present


def _run_rows(study: Study, run: Run) -> pl.DataFrame:
    """One row per class."""
    targets, table = _targets(study), study.table
    decisions = metrics.precision_recall_f1(run.scores >= run.thresholds, targets)
    positives = _train_positives(study)
    test = count(table.labels[table.part("test")])
    columns = {
        "ap": metrics.average_precision(run.scores, targets),
        "precision": decisions.precision,
        "recall": decisions.recall,
        "f1": decisions.f1,
        "threshold": run.thresholds.double(),
    }
    return pl.DataFrame(
        {
            "loss": [run.job.loss] * len(positives),
            "rate": [run.job.rate] * len(positives),
            "seed": [run.job.seed] * len(positives),
            "tuned": [run.job.rate == study.chosen[run.job.loss]] * len(positives),
            "common": [run.job.rate == study.plan.protocol.common_rate] * len(positives),
            "epoch": [run.epoch] * len(positives),
            "class": list(table.names),
            "tier": tiers(positives),
            "positives_train": positives,
            "positives_test": test.present,
            "unknown_test": (table.labels[table.part("test")] == UNKNOWN).sum(0),
            **{name: pl.Series(values.numpy()).fill_nan(None) for name, values in columns.items()},
        }
    )


def _figures(run: Run, targets: torch.Tensor, groups: dict[str, np.ndarray]) -> dict[str, float]:
    return metrics.summarise(run.scores, targets, run.thresholds, groups)


def _over_seeds(figures: dict[str, list[dict[str, float]]], groups: dict[str, np.ndarray]) -> dict[str, Comparison]:
    """For each group of classes, the losses compared over seeds by their mAP there, in percent."""
    return {
        group: statistics.compare(
            {loss: [100 * value[figure_of(group)] for value in own] for loss, own in figures.items()}
        )
        for group in groups
    }


def _leaderboard(
    runs: dict[str, list[Run]],
    figures: dict[str, list[dict[str, float]]],
    differences: dict[str, dict[str, Interval]],
    over_seeds: dict[str, Comparison],
) -> list[dict[str, Any]]:
    """One entry per loss, the best mAP@class first; figures in percent."""
    entries = [
        {
            "loss": loss,
            "rate": own[0].job.rate,
            "epochs": [run.epoch for run in own],
            "figures": {name: _spread([value[name] for value in figures[loss]]) for name in figures[loss][0]},
            "to_best": {
                group: {key: _percent(value) for key, value in asdict(of_loss[loss]).items()}
                for group, of_loss in differences.items()
            },
            "over_seeds": {
                group: next((_tested(other) for other in comparison.others if other.name == loss), None)
                for group, comparison in over_seeds.items()
            },
            "validation": _percent(mean_and_deviation([run.validation for run in own])[0]),
        }
        for loss, own in runs.items()
    ]
    return sorted(entries, key=lambda entry: -entry["figures"]["map_class"]["mean"])


def _spread(values: list[float]) -> dict[str, float | None]:
    mean, deviation = mean_and_deviation(values)
    return {"mean": _percent(mean), "sd": _percent(deviation)}


def _tested(other: Contender) -> dict[str, Any]:
    """The paired tests over seeds of one loss against the best; points of mAP, null where nothing can be said."""
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
    return {**known, "seeds_needed": other.seeds_needed}


def _rates(study: Study) -> dict[str, Any]:
    """For each loss, the validation mAP@class of each rate with the first seed, and the rate chosen."""
    return {
        loss: {
            "validation": {f"{rate:g}": _percent(run.validation) for rate, run in study.search(loss).items()},
            "chosen": study.chosen[loss],
        }
        for loss in study.plan.losses
    }


def _not_found(rows: pl.DataFrame, test_items: int) -> list[dict[str, Any]]:
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
    )
    return [{**row, "best_ap": _percent(row["best_ap"]), "chance": _percent(row["chance"])} for row in best.to_dicts()]


def _not_measured(study: Study) -> list[str]:
    silent = ~(_targets(study) > 0).any(0).numpy()
    return [str(name) for name, quiet in zip(study.table.names, silent, strict=True) if quiet]


def _curve(run: Run) -> dict[str, list[float]]:
    """Training loss and validation mAP@class (percent) of each epoch."""
    return {
        "train_loss": [round(value, 6) for value in run.train_loss.tolist()],
        "val_map": [round(100 * value, 3) for value in run.val_map.tolist()],
    }


def _diverged(study: Study) -> list[str]:
    lost = [
        f"{run.job.loss} at rate {run.job.rate:g}, seed {run.job.seed}" for run in study.runs.values() if run.diverged
    ]
    return [f"{len(lost)} runs diverged and keep their best epoch before that: {listing(lost)}"] if lost else []


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * value, 3)
