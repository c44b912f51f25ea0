"""The run folder: everything that a prediction needs, on any machine, without the data and without a pickle.

run.json              architecture, preprocessing, classes with thresholds, figures, facts of the data, versions
model.safetensors     the weights of the epoch that is kept
parts.parquet         the part of each item of the training's data, which only an evaluation looks at

A training writes run.json last, so that a folder without one is an unfinished training.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise

from rarecall import __version__
from rarecall.errors import ModelError, listing
from rarecall.files import write_bytes, write_text
from rarecall.models import Architecture, Classifier, differing_layers
from rarecall.settings import Training

FORMAT = 2
CARD, WEIGHTS = "run.json", "model.safetensors"


class ClassCard(BaseModel):
    """One class: its name, the logit from which it is decided, and its training positives with their tier."""

    name: str
    threshold: float
    positives: int
    tier: str


class RunCard(BaseModel):
    """The content of run.json.

    Attributes:
        format: raised when a reader of today could not read it.
        architecture: what the network is built from, and how images are prepared for it.
        classes: in the order of the logits.
        training: every setting of the training.
        figures: of the validation and the test part, in percent.
        history: one row for each epoch.
        epoch: the one whose weights these are.
        data: facts of the training data: source, fingerprint, items of each part.
        weights_from: where the backbone's first weights came from.
        notes: what was said while it was made.
        versions: of the libraries.
        command: that made it.
        weights_hash: SHA-256 of model.safetensors.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    rarecall: str = __version__
    architecture: Architecture
    classes: list[ClassCard]
    training: Training
    figures: dict[str, dict[str, float | None]]
    history: list[dict[str, float | None]]
    epoch: int
    data: dict[str, Any]
    weights_from: dict[str, Any] | None
    notes: list[str]
    versions: dict[str, str]
    command: str
    weights_hash: str = ""

    @property
    def names(self) -> list[str]:
        """The class names in the order of the logits."""
        return [entry.name for entry in self.classes]


def write(out: Path, card: RunCard, network: Classifier) -> RunCard:
    """Write the weights, then the card that makes the folder complete, and return it."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    weights = serialise(state)
    write_bytes(out / WEIGHTS, weights)
    complete = card.model_copy(update={"weights_hash": hashlib.sha256(weights).hexdigest()})
    write_text(out / CARD, json.dumps(complete.model_dump(mode="json"), indent=1, allow_nan=False))
    return complete


def read_card(out: Path) -> RunCard:
    """The card of a run folder.

    Raises:
        ModelError: there is none, it is damaged or unfinished, or it is of a later version.
    """
    file = out / CARD
    if out.is_file():
        raise ModelError(f"{out}: is a file: pass the run folder that it is in")
    if not file.is_file():
        if (out / "training.json").is_file():
            raise ModelError(f"{out}: the training is not finished: run the same 'rarecall train' command again")
        raise ModelError(f"{out}: is no run folder (no {CARD}): pass the folder that 'rarecall train' wrote")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        number = int(stored["format"])
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{file}: is damaged: copy the run folder again") from None
    if number > FORMAT:
        raise ModelError(
            f"{out}: was written by rarecall {stored.get('rarecall')}, later than this {__version__}: upgrade to use it"
        )
    if number < FORMAT:
        raise ModelError(
            f"{out}: was written by rarecall {stored.get('rarecall')}, in a form that is read no more: train it again"
        )
    try:
        card = RunCard.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(
            f"{file}: is damaged at {'.'.join(map(str, first['loc']))} ({first['msg']}): copy the run folder again"
        ) from None
    if len(card.classes) != card.architecture.classes:
        raise ModelError(
            f"{file}: is damaged: {len(card.classes)} class names for {card.architecture.classes} logits: "
            "copy the run folder again"
        )
    return card


def read(out: Path) -> tuple[RunCard, Classifier]:
    """The card and the network of a run folder, in eval mode on the CPU.

    Raises:
        ModelError: the folder is incomplete, damaged, or of a later version, or the weights do not fit.
    """
    card, file = read_card(out), out / WEIGHTS
    try:
        content = file.read_bytes()
        state = deserialise(content)
    except FileNotFoundError:
        raise ModelError(f"{out}: {WEIGHTS} is missing: copy the whole run folder") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: is damaged ({error}): copy the run folder again") from None
    network = card.architecture.build()
    differing = differing_layers(state, network.state_dict())
    if differing:
        raise ModelError(
            f"{file}: does not fit {card.architecture.model or 'the head'} in {CARD}: "
            f"{len(differing)} layers differ: {listing(differing, 3)}"
        )
    if hashlib.sha256(content).hexdigest() != card.weights_hash:
        raise ModelError(f"{file}: is not the file that {CARD} speaks of: copy the run folder again")
    network.load_state_dict(state)
    return card, network.eval()


def thresholds(card: RunCard) -> torch.Tensor:
    """The logit from which each class is decided, (C,)."""
    return torch.tensor([entry.threshold for entry in card.classes])


def percent(figures: dict[str, float]) -> dict[str, float | None]:
    """Figures in percent for JSON, None for what does not exist."""
    return {name: None if math.isnan(value) else round(100 * value, 3) for name, value in figures.items()}
