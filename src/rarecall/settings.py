"""How a network is trained and a study done: every setting, declared once.

The fields below are the command line's options with their help, the keys of the JSON, and the rows of the table in
docs/training.md; what a value may be is checked here alone.
"""

import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    ValidationError,
    field_validator,
)

from rarecall.errors import OptionError, unknown_name

Augmentation = Literal["none", "plain", "pedestrian", "photometric", "translate", "crop"]
Metric = Literal["map_class", "map_sample", "map_head", "map_medium", "map_tail", "macro_f1", "loss"]
S = TypeVar("S", bound=BaseModel)

NETWORK: dict[str, Any] = {
    "rate": 1e-3, "epochs": 12, "batch_size": 64, "drop_last": True, "augmentation": "plain", "precision": "auto",
}  # fmt: skip
HEAD: dict[str, Any] = {
    "rate": 3e-3, "epochs": 30, "batch_size": 128, "drop_last": False, "augmentation": "none", "precision": "32",
}  # fmt: skip
RATES: dict[bool, tuple[float, ...]] = {True: (1e-3, 3e-3, 1e-2), False: (3e-4, 1e-3, 3e-3)}  # by head_only
WARMUP = 1 / 12  # of the epochs of a whole network, and at most one epoch
MOST_FOR_BACKBONE = 1e-3  # a head alone often learns best at more, which would undo what the backbone knows


class Recipe(BaseModel):
    """Everything about a training except its loss, its rate and its seed; `model_fields` says what each field is.

    A field without a default of its own has one for heads on frozen features and one for whole networks
    (`HEAD`, `NETWORK`), and some follow the data; `recipe_for` fills them in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    head_only: bool = Field(
        False, description="Train a head on the features of a frozen backbone, computed once, and not the network."
    )
    hidden: int = Field(0, ge=0, description="Units of the head's hidden layer; 0 for a linear head.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the head's last layer.")
    epochs: int = Field(ge=1, description="Passes over the training part.")
    batch_size: int = Field(ge=1, description="Items in a step.")
    drop_last: bool = Field(description="Leave out an incomplete last batch.")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="The optimiser: `adamw`, `adam` (weight decay in the gradient) or `sgd`."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of `sgd`.")
    nesterov: bool = Field(True, description="Nesterov's momentum for `sgd`, or plain.")
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay.")
    decay: Literal["weights", "all"] = Field(
        "weights", description="What decays: `weights` alone, or `all`, biases and normalisation layers too."
    )
    loss_optimizer: Literal["shared", "authors"] = Field(
        "shared", description="What a loss itself learns is trained by the network's optimiser at 10 times its rate "
        "(`shared`), or as its `authors` do."
    )  # fmt: skip
    backbone_rate: float | None = Field(
        None, ge=0, description=f"Learning rate of the backbone; none: the head's, but at most {MOST_FOR_BACKBONE:g}."
    )
    schedule: Literal["cosine", "step", "constant"] = Field(
        "cosine", description="Of the rates, step by step: `cosine` to 0, `step` (÷10 at each milestone) or `constant`."
    )
    milestones: tuple[PositiveFloat, ...] | None = Field(
        None, description="Epochs at which `step` divides by 10, as in 5,8; none: 1/2 and 3/4 of all."
    )
    warmup_epochs: float = Field(0.0, ge=0, description="Epochs over which the rates rise linearly.")
    warmup_steps: int | None = Field(None, ge=1, description="The same in steps, in place of epochs.")
    warmup_from: float = Field(0.0, ge=0, lt=1, description="The fraction of the rates that the warm-up starts from.")
    clip: float | None = Field(None, gt=0, description="Largest norm of the gradient; none: no limit.")
    augmentation: Augmentation = Field(
        description="Of training images: `none`, `plain` (flip), `pedestrian` (crop, flip, turn, colour), "
        "`photometric` (crop, flip, colour), `translate` (move, flip) or `crop` (crop, flip)."
    )
    precision: Literal["auto", "32", "bf16", "16"] = Field(
        "auto", description="`auto` is bfloat16 where a GPU has it, else float16 there, and float32 on a CPU."
    )
    val: Literal["part", "none", "test"] = Field(
        "part",
        description="What choices are made on: the validation `part`; `none`: all of train is trained on; or the "
        "`test` part, as some papers do, which flatters its figures, as every output then says.",
    )
    select: Literal["best", "last"] = Field(
        "best", description="The epoch that is kept: the `best` by --metric, or the `last`."
    )
    metric: Metric = Field(
        "map_class",
        description="The figure that picks the epoch and, in a study, the rate: `map_class`, `map_sample`, "
        "`map_head`, `map_medium`, `map_tail`, `macro_f1` or `loss`.",
    )
    patience: int | None = Field(
        None, ge=1, description="Epochs without a better one after which training stops; none: never."
    )
    tolerance: NonNegativeFloat = Field(
        0.0, description="By how much of the metric (from 0 to 1) an epoch has to be better for --patience."
    )
    threshold: Literal["fitted", "0.5"] = Field(
        "fitted",
        description="Decisions: at thresholds `fitted` for the best F1 where choices are made (on train without such a "
        "part), or at a score of `0.5`.",
    )

    @field_validator("milestones", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        """Numbers separated by commas, as on the command line."""
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("threshold", "precision", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """A number may stand for its word."""
        return f"{value:g}" if isinstance(value, int | float) else value

    @property
    def fitted_on(self) -> str | None:
        """The part that thresholds are fitted on; None where the decision is at a score of 0.5."""
        return None if self.threshold == "0.5" else {"part": "val", "none": "train", "test": "test"}[self.val]

    @property
    def picked_on_test(self) -> list[str]:
        """What is picked by the test part."""
        if self.val != "test":
            return []
        picked = {
            "epochs": self.select == "best" or self.patience is not None,
            "thresholds": self.fitted_on == "test",
        }
        return [name for name, so in picked.items() if so]

    def factor(self, step: int, steps: int) -> float:
        """What the rates are multiplied by at a step, counted from 0, with so many steps an epoch.

        >>> short = Recipe(epochs=4, warmup_epochs=1, batch_size=1, drop_last=True, augmentation="none")
        >>> short.factor(step=1, steps=2), short.model_copy(update={"warmup_from": 0.5}).factor(step=1, steps=2)
        (1.0, 0.75)
        """
        warm = self.warmup_steps or round(self.warmup_epochs * steps)
        if step < warm:
            if not self.warmup_from:
                return (step + 1) / warm  # a first step at a rate of 0 would be lost
            return self.warmup_from + (1 - self.warmup_from) * step / warm
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "step":
            milestones = self.milestones or (self.epochs / 2, self.epochs * 3 / 4)
            return float(0.1 ** sum(step >= round(milestone * steps) for milestone in milestones))
        return (1 + math.cos(math.pi * (step - warm) / max(self.epochs * steps - warm, 1))) / 2

    def training(self, loss: str, *, rate: float | None = None, seed: int = 0) -> "Training":
        """The recipe with a loss, a rate and a seed.

        Raises:
            OptionError: an unknown loss or option, a reduction that is not the mean, or a loss that the recipe's metric
                cannot be asked of.
        """
        from rarecall import losses  # loads PyTorch, which the command line's help does not wait for

        built = losses.preview(loss)
        if built.reduction != "mean":
            raise OptionError(f"{built}: training takes the mean: leave out reduction")
        if built.needs_rows and self.metric == "loss":
            raise OptionError(f"metric loss: {built} is a loss of training items alone: pass another --metric")
        own = {name: getattr(self, name) for name in Recipe.model_fields}
        rate = (HEAD if self.head_only else NETWORK)["rate"] if rate is None else rate
        return checked(Training, **own, loss=repr(built), rate=rate, seed=seed)


class Training(Recipe):
    """A recipe with its loss, its rate and its seed."""

    loss: str = Field(description="As `losses.build` takes it.")
    rate: float = Field(gt=0, description="Learning rate of the head.")
    seed: int = Field(
        0,
        ge=0,
        description="Decides initial weights (of a whole network's backbone without weights, too), order, "
        "augmentation and dropout; never the split.",
    )

    def rate_of_backbone(self) -> float:
        """The backbone's learning rate."""
        return min(self.rate, MOST_FOR_BACKBONE) if self.backbone_rate is None else self.backbone_rate


class Protocol(Recipe):
    """How every loss is trained: one recipe, and the rates that each chooses among."""

    rates: tuple[PositiveFloat, ...] = Field(
        min_length=1, description="Learning rates that each loss chooses among, as in 1e-3,3e-3,1e-2."
    )

    @field_validator("rates", mode="before")
    @classmethod
    def _sorted(cls, value: Any) -> Any:
        """Numbers separated by commas, as on the command line; each once, in rising order."""
        parts = value.split(",") if isinstance(value, str) else value
        try:
            return tuple(sorted({float(part) for part in parts}))
        except (TypeError, ValueError):
            raise ValueError("must be numbers separated by commas, as in 1e-3,3e-3,1e-2") from None

    @property
    def common_rate(self) -> float:
        """The rate at which all losses are compared besides their own ones: the middle one."""
        return self.rates[len(self.rates) // 2]

    @property
    def recipe(self) -> Recipe:
        """What one training takes of it."""
        return Recipe(**{name: getattr(self, name) for name in Recipe.model_fields})


def refuse_contradictions(own: Recipe, given: Mapping[str, Any]) -> None:
    """Refuse settings that contradict each other.

    Raises:
        OptionError: of the first such pair.
    """
    latest, warm = max(own.milestones or (0,)), own.warmup_epochs
    of_sgd = next((name for name in ("momentum", "nesterov") if name in given), None)
    of_choice = next((name for name in ("patience", "metric") if name in given), None)
    contradictions = (
        (
            own.head_only and own.augmentation != "none",
            f"augmentation={own.augmentation}: a head is trained on features that are computed once: leave it out, or "
            "train the whole network",
        ),
        (
            own.head_only and own.backbone_rate is not None,
            "backbone_rate: the backbone is frozen when only a head is trained: leave it out",
        ),
        (
            bool(own.milestones) and own.schedule != "step",
            f"milestones={own.milestones}: mean nothing to the {own.schedule} schedule: pass --schedule step",
        ),
        (latest >= own.epochs, f"milestones={latest:g}: must be below epochs={own.epochs}"),
        (warm >= own.epochs, f"warmup_epochs={warm:g}: must be below epochs={own.epochs}"),
        (own.warmup_steps is not None and "warmup_epochs" in given, "warmup_steps and warmup_epochs: say one of them"),
        (
            of_sgd is not None and own.optimizer != "sgd",
            f"{of_sgd}: means something to sgd alone: leave it out, or pass --optimizer sgd",
        ),
        (
            own.val == "none" and own.select == "best",
            "select=best: there is no part to choose an epoch on with --val none: pass --select last",
        ),
        (
            own.val == "none" and of_choice is not None,
            f"{of_choice}: there is no part to choose an epoch on with --val none: leave it out",
        ),
        (
            own.tolerance > 0 and own.patience is None,
            f"tolerance={own.tolerance:g}: means something to --patience alone: pass that, too",
        ),
        (
            own.warmup_from > 0 and not (own.warmup_steps or own.warmup_epochs),
            f"warmup_from={own.warmup_from:g}: there is no warm-up: pass --warmup-epochs or --warmup-steps, too",
        ),
    )
    wrong = next((sentence for found, sentence in contradictions if found), None)
    if wrong is not None:
        raise OptionError(wrong)


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some settings changed, and with those that follow from them.

    Raises:
        OptionError: a value out of its range, or a combination that means nothing.
    """
    own = checked(Recipe, **{**recipe.model_dump(), **_following(recipe, changes), **changes})
    refuse_contradictions(own, changes)
    return own


def _following(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What changes with other settings: what meant something only beside them, and what is a share of them."""
    follows: dict[str, Any] = {}
    if changes.get("head_only") and not recipe.head_only:
        follows |= {"augmentation": "none", "backbone_rate": None, "warmup_epochs": 0.0, "precision": "32"}
    if changes.get("hidden") == 0:
        follows |= {"dropout": 0.0}
    if changes.get("val") == "none":
        follows |= {"select": "last", "metric": "map_class", "patience": None, "tolerance": 0.0}
    if changes.get("schedule", "step") != "step":
        follows |= {"milestones": None}
    if "warmup_epochs" in changes:
        follows |= {"warmup_steps": None}
    elif "warmup_steps" in changes:
        follows |= {"warmup_epochs": 0.0}
    elif isinstance(epochs := changes.get("epochs"), int) and not recipe.head_only:
        follows |= {"warmup_epochs": min(recipe.warmup_epochs, WARMUP * epochs)}
    return follows


def checked(settings: type[S], **values: Any) -> S:
    """The settings with these values.

    Raises:
        OptionError: an unknown setting, or a value that is not among the known ones or out of its range.
    """
    try:
        return settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise OptionError(unknown_name("option", name, settings.model_fields)) from None
        if first["type"] == "literal_error":
            known = get_args(settings.model_fields[name].annotation)
            raise OptionError(unknown_name(name, str(first["input"]), known)) from None
        raise OptionError(
            f"{name}={first['input']}: {first['msg'].removeprefix('Value error, ').replace('Input should', 'must')}"
        ) from None


SETTINGS = {**Protocol.model_fields, **Training.model_fields}


def default_of(name: str) -> str:
    """The default of a setting in words, of heads and of whole networks where they differ; nothing for None.

    >>> default_of("epochs"), default_of("weight_decay"), default_of("clip")
    ('30 for heads, 12 for whole networks', '0.01', '')
    """
    if name == "rates":
        return " for heads, ".join(",".join(f"{rate:g}" for rate in RATES[kind]) for kind in (True, False)) + (
            " for whole networks"
        )
    if name in NETWORK:
        return f"{_word(HEAD[name])} for heads, {_word(NETWORK[name])} for whole networks"
    if name == "warmup_epochs":
        return "0 for heads, 1/12 of the epochs and at most 1 for whole networks"
    if name in ("hidden", "dropout"):
        return {"hidden": "0 on images, 256 on feature tables", "dropout": "0 on images, 0.5 on feature tables"}[name]
    value = SETTINGS[name].default
    return "" if value is None else _word(value)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def choices(name: str) -> tuple[str, ...]:
    """The words that a setting may be, in case it is one of some.

    >>> choices("optimizer")
    ('adamw', 'adam', 'sgd')
    """
    annotation: Any = SETTINGS[name].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def plain_type(name: str) -> Any:
    """The type of a setting on the command line: bool, int, float, or text for the rest."""
    annotation: Any = SETTINGS[name].annotation
    if isinstance(annotation, UnionType):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    return annotation if annotation in (bool, int, float) else str
