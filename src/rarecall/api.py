"""What the commands do, from Python: a study or a training of a path, a table, or a pair of arrays.

The commands only parse, call these and print, so both have the same defaults, progress and errors.
"""

import shlex
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from rarecall import data as formats
from rarecall import processes, studies, training
from rarecall.data.parts import Parts
from rarecall.data.table import LabelTable
from rarecall.errors import OptionError, listing, unknown_name
from rarecall.files import write_text
from rarecall.inference import Predictor, RunCard
from rarecall.listener import Listener
from rarecall.models import Backbone, image_size, load_backbone
from rarecall.preparation import divide, prepare, tell
from rarecall.reports import page, terminal
from rarecall.settings import Training, changed
from rarecall.studies import Protocol, Results
from rarecall.studies.folder import STUDY
from rarecall.studies.summary import Entry, Summary
from rarecall.training.run import TRAINING

Data = str | Path | LabelTable | tuple[Any, Any]
BACKBONE = ("model", "weights", "image_size")


@dataclass(frozen=True, repr=False)
class StudyResult:
    """A finished study.

    Attributes:
        folder: that holds it; one that `out=None` made lives as long as this object.
        found: what its files hold.
        owned: what keeps a temporary folder.
    """

    folder: Path
    found: Results
    owned: "_Temporary | None" = None

    @property
    def summary(self) -> Summary:
        """The content of summary.json."""
        return self.found.summary

    @property
    def results(self) -> pl.DataFrame:
        """One row per run and class: results.parquet."""
        return self.found.rows

    @property
    def leaderboard(self) -> pl.DataFrame:
        """One row for each loss, the best first: its rate, and mean and deviation of each figure in percent."""
        return self.summary.leaderboard()

    @property
    def best(self) -> Entry:
        """The loss with the highest test mAP, its rate and its figures."""
        return self.summary.tuned[0]

    @property
    def verdict(self) -> list[str]:
        """What can be said, and how sure it is."""
        return self.summary.verdict

    def __repr__(self) -> str:
        figures = ", ".join(f"{entry.loss} {entry.figures['map_class'].mean:.1f}" for entry in self.summary.tuned)
        return f"<study in {self.folder}: {figures}>"

    def report(self) -> Path:
        """The page, written anew."""
        file = self.folder / "report.html"
        write_text(file, page.render(self.found))
        return file

    def _repr_html_(self) -> str:
        """For notebooks: the leaderboard and the verdict."""
        return page.excerpt(self.found)


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """A finished training.

    Attributes:
        folder: the run folder; one that `out=None` made lives as long as this object.
        card: the content of run.json.
        owned: what keeps a temporary folder.
        data: the data and their options as a command takes them.
    """

    folder: Path
    card: RunCard
    owned: "_Temporary | None" = None
    data: str | None = None

    def __repr__(self) -> str:
        figure = self.figures["test"]["map_class"]
        return f"<model in {self.folder}: {self.card.training.loss}, test mAP@class {figure or float('nan'):.1f}>"

    @property
    def predictor(self) -> Predictor:
        """The model, ready to predict."""
        predictor = Predictor.load(self.folder)
        if self.owned is not None:
            _ = predictor.parts  # read while the folder is there
        return predictor

    @property
    def figures(self) -> dict[str, dict[str, float | None]]:
        """The figures of the validation and the test part, in percent."""
        return self.card.figures

    def _repr_html_(self) -> str:
        """For notebooks: what was trained and its figures."""
        return page.excerpt_of_run(self.card)


def study(
    data: Data,
    losses: str | list[str] | tuple[str, ...] | None = None,
    seeds: int = 5,
    out: str | Path | None = None,
    *,
    finetune: bool = False,
    device: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    group: str | None = None,
    listener: Listener | None = None,
    command: str | None = None,
    format_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> StudyResult:
    """Find out which loss finds the rare labels best on some data, and how sure that is: `rarecall study`.

    Args:
        data: a path or specification as `rarecall.data.load` takes it, a table, or `(features, labels)`.
        losses: as `losses.build` takes them, in a list or separated by commas; default: five.
        seeds: how many.
        out: the folder, new or to be continued; None: a temporary one that lives as long as the result.
        finetune: train whole networks and not only heads.
        device: `auto`, `cpu` or `cuda`.
        workers: processes; default: one for each core.
        strict: refuse a data set with an unreadable image.
        group: the column whose values stay together in one part.
        listener: told of progress; default: bars and notes on stderr.
        command: what was typed, for the record.
        format_options: of the data's format, also those that a setting has the name of, such as VOC's `val`.
        options: settings of `studies.Protocol` (`epochs=…`, `rates=…`), of the backbone (`model`, `weights`,
            `image_size`), and of the data's format (`blank="absent"`).

    Raises:
        RarecallError: as the command says in one line.

    >>> result = study("digits", losses=["bce"], seeds=1, epochs=1, rates=[3e-3], workers=1, listener=Listener())
    >>> result.leaderboard["loss"].to_list(), result.best.rate
    (['binary-cross-entropy'], 0.003)
    """
    wanted = None if losses is None else studies.parse_losses(losses)
    settings, of_backbone, of_format = _sorted(options, Protocol, format_options)
    folder, owned = _folder(out)
    with _told(listener) as told:
        STUDY.check(folder)
        if not finetune and workers != 1:
            processes.warm_up()
        table = _load(data, group, of_format, told)
        protocol = studies.protocol(table, finetune=finetune, **settings)
        plan = studies.make_plan(wanted, seeds, protocol)
        backbone = _backbone(table, of_backbone, device, told)
        divided = divide(table, val=protocol.val)
        idle = studies.idle_rules(plan.losses, table.labels[divided.table.part("train")])
        tell(told, (), idle)
        prepared = prepare(
            divided, told, backbone=backbone, features=protocol.head_only, decode=finetune, strict=strict
        )
        finished = studies.study(
            plan, prepared, folder, backbone=backbone, workers=workers, listener=told, device=device
        )
        results = studies.collect(
            finished,
            prepared.audit,
            command=command or "rarecall.study(…)",
            train_command=_train_command(
                data_words(data, group, of_format), of_backbone, folder, temporary=owned is not None
            ),
            notes=[*prepared.notes, *idle],
        )
        results.write(folder)
        result = StudyResult(folder, results, owned)
        result.report()
    return result


def train(
    data: Data,
    loss: str | None = None,
    out: str | Path | None = None,
    *,
    from_study: str | Path | StudyResult | None = None,
    finetune: bool = False,
    device: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    tensorboard: bool = True,
    group: str | None = None,
    listener: Listener | None = None,
    command: str | None = None,
    format_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> TrainedModel:
    """Train a model and write a run folder that predicts anywhere: `rarecall train`.

    Args:
        data: as `study` takes it.
        loss: as `losses.build` takes it; default: binary-cross-entropy.
        out: the run folder, new or to be continued; None: a temporary one that lives as long as the result.
        from_study: a finished study: train its winner as it was trained there, with its parts.
        finetune: beside `from_study`: its loss, but a whole network under the default recipe of such.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that load images.
        strict: refuse a data set with an unreadable image.
        tensorboard: write logs for TensorBoard.
        group: the column whose values stay together in one part.
        listener: told of progress; default: bars and notes on stderr.
        command: what was typed, for the record.
        format_options: of the data's format, also those that a setting has the name of, such as VOC's `val`.
        options: settings of `training.Training` (`epochs=…`, `rate=…`), of the backbone, and of the data's format.

    Raises:
        RarecallError: as the command says in one line.

    >>> model = train("digits", loss="two-way", epochs=1, listener=Listener())
    >>> model.predictor.names[:2], sorted(model.figures)
    (['zero', 'one'], ['test', 'val'])
    """
    settings, of_backbone, of_format = _sorted(options, Training, format_options)
    rate, seed = settings.pop("rate", None), settings.pop("seed", 0)
    folder, owned = _folder(out)
    with _told(listener) as told:
        TRAINING.check(folder)
        if loss is not None and from_study is not None:
            raise OptionError(f"--loss {loss}: --from-study takes the study's own: leave one of them out")
        if finetune and from_study is None:
            raise OptionError("--finetune: says how to take a study's winner: pass --from-study, or leave it out")
        winner = None if from_study is None else _winner(from_study, told)
        table = _load(data, group, of_format, told)
        if finetune and table.features is not None:
            raise OptionError(f"--finetune: {table.source} has features, not images: leave it out")
        if winner is not None:
            _require_alike(table, winner)
        if winner is None:
            recipe = training.recipe_for(table, **settings)
        elif finetune and winner.protocol.head_only:
            recipe = training.recipe_for(table, **settings)
            told.say("note", "--finetune: the study trained heads; this is its loss under the recipe of whole networks")
        else:
            recipe, rate = changed(winner.protocol.recipe, settings), winner.entry.rate if rate is None else rate
        chosen = recipe.training(winner.entry.loss if winner else loss or "binary-cross-entropy", rate=rate, seed=seed)
        backbone = _backbone(table, of_backbone, device, told, winner)
        divided = divide(table, val=recipe.val, kept=winner.parts if winner else None)
        card = training.train(
            chosen, divided, folder, told, backbone=backbone, device=device, workers=workers, strict=strict,
            tensorboard=tensorboard, command=command or "rarecall.train(…)", forgiving=winner is not None,
            notes=winner.notes if winner else (),
        )  # fmt: skip
    return TrainedModel(folder, card, owned, data_words(data, group, of_format))


@dataclass(frozen=True)
class _Winner:
    """What a study found best, and how it was trained there."""

    entry: Entry
    protocol: Protocol
    backbone: Mapping[str, Any]
    classes: list[str]
    parts: Parts | None
    notes: tuple[str, ...]


def _winner(of: str | Path | StudyResult, listener: Listener) -> _Winner:
    folder = of.folder if isinstance(of, StudyResult) else Path(of)
    summary = Summary.read(folder)
    best = summary.tuned[0]
    chosen = (
        f"{best.loss} at rate {best.rate:g} has the highest test mAP of the study, by which it was chosen: the test "
        "figures of its training are a little flattered"
    )
    listener.say("note", f"{folder}: {chosen}")
    classes = [row.name for row in summary.data.facts.classes]
    return _Winner(best, summary.protocol, summary.backbone or {}, classes, Parts.read(folder), (chosen,))


def _require_alike(table: LabelTable, winner: _Winner) -> None:
    """Refuse data that a study's winner has nothing to do with.

    Raises:
        OptionError: other classes, or features in place of images.
    """
    if other := sorted(set(table.names) ^ set(winner.classes)):
        raise OptionError(
            f"--from-study: {table.source} has other classes than the study's data ({listing(other, 3)}): pass a study "
            "of these data, or --loss"
        )
    if bool(winner.backbone) != (table.features is None):
        has, had = ("images", "features") if winner.backbone == {} else ("features", "images")
        raise OptionError(f"--from-study: {table.source} has {has}, and the study's data had {had}")


def _load(data: Data, group: str | None, options: Mapping[str, Any], listener: Listener) -> LabelTable:
    """The table, whose notes are said."""
    if isinstance(data, str | Path):
        table = formats.load(str(data), group=group, **options)
    else:
        if options:
            raise OptionError(unknown_name("option", next(iter(options)), [*Protocol.model_fields, *BACKBONE]))
        table = data if isinstance(data, LabelTable) else formats.from_arrays(*data)
        table = table if group is None else replace(table, group=group)
    for note in table.notes:
        listener.say("note", note)
    return table


def _backbone(
    table: LabelTable, options: Mapping[str, Any], device: str, listener: Listener, winner: _Winner | None = None
) -> Backbone | None:
    """The backbone of images; says beforehand that its weights may have to be fetched."""
    if table.features is not None:
        if options:
            name, value = next(iter(options.items()))
            flag = "--" + name.replace("_", "-")
            raise OptionError(f"{flag} {value}: {table.source} has features, not images: leave it out")
        return None
    kept = winner.backbone if winner else {}
    weights = options.get("weights")
    if weights is None and kept.get("weights") not in (None, "pretrained", "none"):
        raise OptionError(f"--weights: the study used {kept['weights']}: pass its path")
    weights = str(weights or kept.get("weights") or "pretrained")
    if weights == "pretrained":
        listener.say(
            "note", "fetching pretrained weights unless they are cached; without a network, pass --weights FILE"
        )
    size = image_size(options.get("image_size", kept.get("image_size")))
    backbone = load_backbone(options.get("model") or kept.get("model"), weights, size, device=device)
    if kept.get("weights_digest") not in (None, backbone.description["weights_digest"]):
        listener.say("warning", "other weights than the study's: what it found may not hold for them")
    return backbone


def _sorted(
    options: Mapping[str, Any], settings: type[Protocol] | type[Training], format_options: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Options as settings, of the backbone, and of the format; those that are None are as good as not given."""
    given = {name: value for name, value in options.items() if value is not None}
    names = set(settings.model_fields) - ({"head_only"} if settings is Protocol else {"loss"})
    own = {name: value for name, value in given.items() if name in names}
    backbone = {name: value for name, value in given.items() if name in BACKBONE}
    others = {name: value for name, value in given.items() if name not in own and name not in backbone}
    if twice := sorted(others.keys() & (format_options or {}).keys()):
        raise OptionError(f"{twice[0]} is given twice: as an option and among the format's: leave out one")
    return own, backbone, {**others, **(format_options or {})}


def _train_command(words: str | None, of_backbone: Mapping[str, Any], folder: Path, temporary: bool) -> str:
    """What trains a study's winner."""
    if words is None or temporary:
        return f"rarecall.train(data, from_study={'study' if temporary else repr(str(folder))})"
    weights = of_backbone.get("weights")
    own = [] if weights in (None, "pretrained", "none") else ["--weights", str(weights)]
    return f"rarecall train {words} {shlex.join([*own, '--from-study', str(folder)])}"


def data_words(data: Data, group: str | None, of_format: Mapping[str, Any]) -> str | None:
    """DATA and its options as a command takes them; None of what is no path.

    >>> data_words("tags.csv", "patient", {"blank": "absent"})
    'tags.csv --option blank=absent --group patient'
    """
    if not isinstance(data, str | Path):
        return None
    options = [word for name, value in of_format.items() for word in ("--option", f"{name}={value}")]
    return shlex.join([str(data), *options, *([] if group is None else ["--group", group])])


@contextmanager
def _told(listener: Listener | None) -> Iterator[Listener]:
    """The listener, or bars and notes on stderr."""
    if listener is not None:
        yield listener
        return
    with terminal.listening() as shown:
        yield shown


class _Temporary:
    """A folder that is removed when nothing holds this any more."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rarecall-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def _folder(out: str | Path | None) -> tuple[Path, _Temporary | None]:
    """The folder to fill, and what keeps a temporary one alive."""
    if out is not None:
        return Path(out).expanduser(), None
    owned = _Temporary()
    return owned.folder, owned
