"""How something was trained, in sentences, from its recipe."""

from rarecall.settings import MOST_FOR_BACKBONE, Recipe, Training
from rarecall.studies.summary import Summary
from rarecall.studies.verdict import picked_on_test

METRICS = {
    "map_class": "mAP@class",
    "map_sample": "mAP@sample",
    "map_head": "mAP of the head classes",
    "map_medium": "mAP of the medium classes",
    "map_tail": "mAP of the tail classes",
    "macro_f1": "macro F1",
    "loss": "loss",
}
PARTS = {"part": "validation", "test": "test"}  # that choices are made on
FITTED_ON = {"val": "validation", "train": "train", "test": "the test part"}
OPTIMISERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}
DRAWN_TOWARDS = "those of rare classes drawn towards one that is shared by all"
SEEDS = "A seed changes initialisation, batch order, augmentation and dropout, never the split."


def of_study(summary: Summary) -> list[str]:
    """The protocol that every loss was trained under."""
    protocol = summary.protocol
    if len(protocol.rates) > 1:
        rates = f"each loss chooses its rate by {_figure(protocol)} with the first seed"
    else:
        rates = f"the rate is {protocol.rates[0]:g} for every loss"
    flattered = "the test part chose, too, and its figures are flattered" if picked_on_test(protocol) else ""
    scored = flattered or "the test part is scored once per run"
    return [*of_training(protocol), _begin(f"{rates}; {scored}."), SEEDS]


def of_run(training: Training) -> list[str]:
    """The training of a run."""
    return [*of_training(training), f"The rate is {training.rate:g}, the seed {training.seed}."]


def chosen_on(training: Training) -> str:
    """What has to stand beside the figures of a run that was not chosen on a validation part."""
    if training.val == "none":
        return "nothing was held out to choose on"
    return "chosen on the test part" if training.picked_on_test else ""


def thresholds_of(training: Training | None) -> dict[str, str]:
    """Which thresholds an evaluation decides by: those of a run, or, without one, those fitted for given scores.

    >>> thresholds_of(None)
    {'fitted': 'fitted on validation', 'half': 'at 0.5'}
    """
    fitted_on = "val" if training is None else training.fitted_on
    if fitted_on is None:
        return {"fitted": "at 0.5"}  # its own, and so the others are the same
    return {"fitted": f"fitted on {FITTED_ON[fitted_on]}", "half": "at 0.5"}


def of_training(recipe: Recipe) -> list[str]:
    """Network, optimiser, schedule, batches, and how epoch and thresholds are chosen."""
    return [
        f"{_network(recipe)}; {_optimiser(recipe)}; {_schedule(recipe)}.",
        f"{_batches(recipe)}.",
        f"{_epoch(recipe)}; {_thresholds(recipe)}.",
    ]


def _network(recipe: Recipe) -> str:
    head = f"one hidden layer of {recipe.hidden} units" if recipe.hidden else "linear"
    dropout = f", dropout {recipe.dropout:g}" if recipe.dropout else ""
    if recipe.head_only:
        return f"Heads on frozen features: {head}{dropout}"
    return f"Whole networks, head: {head}{dropout}; {_backbone_rate(recipe)}"


def _backbone_rate(recipe: Recipe) -> str:
    if recipe.backbone_rate is None:
        return f"the backbone has the rate of the head, but at most {MOST_FOR_BACKBONE:g}"
    return f"the backbone has the rate {recipe.backbone_rate:g}"


def _optimiser(recipe: Recipe) -> str:
    momentum = f" with {'Nesterov' if recipe.nesterov else 'plain'} momentum {recipe.momentum:g}"
    decayed = "weights alone" if recipe.decay == "weights" else "all parameters"
    clipped = "" if recipe.clip is None else f", gradients clipped to a norm of {recipe.clip:g}"
    own = "" if recipe.loss_optimizer == "shared" else ", what a loss itself learns as its authors train it"
    name = OPTIMISERS[recipe.optimizer] + (momentum if recipe.optimizer == "sgd" else "")
    return f"{name}, weight decay {recipe.weight_decay:g} of {decayed}{clipped}{own}"


def _schedule(recipe: Recipe) -> str:
    milestones = recipe.milestones or (recipe.epochs / 2, recipe.epochs * 3 / 4)
    falls = {
        "cosine": "the rate falls to 0 along half a cosine",
        "step": f"the rate is divided by 10 at epochs {', '.join(f'{one:g}' for one in milestones)}",
        "constant": "the rate stays as it is",
    }[recipe.schedule]
    if not (recipe.warmup_steps or recipe.warmup_epochs):
        return f"{falls}, without a warm-up"
    length = f"{recipe.warmup_steps:,} steps" if recipe.warmup_steps else _epochs(recipe.warmup_epochs)
    begin = f" from {recipe.warmup_from:g} of it" if recipe.warmup_from else ""
    return f"{falls}, after a warm-up of {length}{begin}"


def _epochs(number: float) -> str:
    return f"{number:.3g} epoch" + ("" if number == 1 else "s")


def _batches(recipe: Recipe) -> str:
    last = "left out" if recipe.drop_last else "kept"
    images = "" if recipe.head_only else f"; augmentation: {recipe.augmentation}; precision: {recipe.precision}"
    return f"{_epochs(recipe.epochs)} of batches of {recipe.batch_size:,}, an incomplete last one {last}{images}"


def _figure(recipe: Recipe) -> str:
    return f"{PARTS[recipe.val]} {METRICS[recipe.metric]}"


def _epoch(recipe: Recipe) -> str:
    if recipe.val == "none":
        return "Nothing was held out to choose on: the last epoch is kept"
    kept = f"the epoch with the best {_figure(recipe)} is kept" if recipe.select == "best" else "the last epoch is kept"
    if recipe.patience is None:
        return _begin(kept)
    by = f" by more than {recipe.tolerance:g}" if recipe.tolerance else ""
    return _begin(f"{kept}; a training ends when {_epochs(recipe.patience)} in a row are not better{by}")


def _thresholds(recipe: Recipe) -> str:
    if recipe.fitted_on is None:
        return "labels are given from a score of 0.5"
    return f"thresholds are those of the best F1 on {FITTED_ON[recipe.fitted_on]}, {DRAWN_TOWARDS}"


def _begin(words: str) -> str:
    return words[0].upper() + words[1:]
