"""A trained model ready to predict: names, scores and decisions for images or features."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rarecall.data.parts import Parts
from rarecall.errors import OptionError, ShapeError
from rarecall.inference import run_folder
from rarecall.inference.run_folder import RunCard
from rarecall.inference.scoring import Source, score, score_features
from rarecall.models import Classifier, resolve_device


@dataclass(frozen=True)
class Predictions:
    """What a model says of some items.

    Attributes:
        items: a name for each.
        names: the classes.
        scores: (N, C) float32 from 0 to 1, the sigmoid of the logits; NaN for what cannot be read. They order
            items of a class by how likely it is present; only with a pointwise loss such as cross-entropy are
            they probabilities.
        decided: (N, C) bool: the class is decided to be present.
        errors: why an item cannot be read, else None.
    """

    items: list[str]
    names: list[str]
    scores: np.ndarray
    decided: np.ndarray
    errors: list[str | None]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> list[list[str]]:
        """The names of the decided classes of each item, the most likely first."""
        order = np.argsort(-self.scores, axis=1, kind="stable")
        return [
            [self.names[place] for place in places if decided[place]]
            for places, decided in zip(order, self.decided, strict=True)
        ]

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The `k` classes with the highest scores and their scores; nothing for what cannot be read."""
        if k < 1:
            raise OptionError(f"top={k}: must be at least 1")
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :k]
        return [
            [] if error else [(self.names[place], float(scores[place])) for place in places]
            for places, scores, error in zip(order, self.scores, self.errors, strict=True)
        ]


class Predictor:
    """The model of a run folder.

    >>> predictor = Predictor.load("run")                        # doctest: +SKIP
    >>> predictor.predict(["a.jpg", "b.jpg"]).labels             # doctest: +SKIP
    [['hat', 'backpack'], []]
    """

    def __init__(self, card: RunCard, network: Classifier, folder: Path | None = None) -> None:
        self.card, self.network, self.folder = card, network, folder
        self.thresholds = run_folder.thresholds(card)

    @classmethod
    def load(cls, run: str | Path, device: str = "auto") -> "Predictor":
        """Load a run folder.

        Args:
            run: the folder that `rarecall train` wrote.
            device: `auto` (a GPU if there is one), `cpu` or `cuda`.

        Raises:
            ModelError: the folder is incomplete, damaged or of a later version.
            OptionError: a device that is not there.
        """
        place = resolve_device(device)
        card, network = run_folder.read(Path(run))
        return cls(card, network.to(place), Path(run))

    @cached_property
    def parts(self) -> Parts | None:
        """The part of each item of the training's data; None where the folder does not have it.

        Raises:
            DataError: the file is damaged.
        """
        return None if self.folder is None else Parts.read(self.folder)

    @property
    def names(self) -> list[str]:
        """The classes in the order of the scores."""
        return self.card.names

    @property
    def takes_images(self) -> bool:
        """Whether it predicts for images, and not for features."""
        return self.card.architecture.model is not None

    def predict(self, inputs: Source | Sequence[Source] | np.ndarray, *, threshold: float | None = None) -> Predictions:
        """Names, scores and decisions of images or features that fit into memory; `stream` takes any number.

        Args:
            inputs: one image or a sequence of them: paths, bytes of a file, PIL images, or uint8 arrays and tensors
                (H, W, 3); for a model of features, an array (N, D) of them.
            threshold: decide `score >= threshold` for every class, in place of the thresholds fitted on validation.

        Raises:
            ShapeError: features of another shape than the model's.
        """
        if not self.takes_images:
            return self.predict_features(inputs, threshold=threshold)  # type: ignore[arg-type]
        one = isinstance(inputs, str | Path | bytes | Image.Image) or getattr(inputs, "ndim", 4) <= 3
        sources: list[Source] = [inputs] if one else list(inputs)  # type: ignore[list-item, arg-type]
        parts = list(self.stream(sources, threshold=threshold))
        empty = self._decide([], torch.empty(0, len(self.names)), [], threshold)
        return Predictions(
            items=[item for part in parts for item in part.items],
            names=self.names,
            scores=np.concatenate([empty.scores, *(part.scores for part in parts)]),
            decided=np.concatenate([empty.decided, *(part.decided for part in parts)]),
            errors=[error for part in parts for error in part.errors],
        )

    def stream(
        self, images: Iterable[Source], *, threshold: float | None = None, batch_size: int | None = None
    ) -> Iterator[Predictions]:
        """Predictions of any number of images in their order, a batch at a time, in a bounded memory."""
        if not self.takes_images:
            raise OptionError("this model takes features, not images: predict_features(features)")
        if batch_size is not None and batch_size < 1:
            raise OptionError(f"batch_size={batch_size}: must be at least 1")
        if isinstance(images, str | Path):
            images = [images]
        begun = 0
        for batch in score(self.network, images, batch_size):
            names = [
                str(source) if isinstance(source, str | Path) else f"image {begun + place}"
                for place, source in enumerate(batch.sources)
            ]
            begun += len(names)
            yield self._decide(names, batch.logits, batch.errors, threshold)

    def predict_features(
        self, features: np.ndarray | Tensor, items: list[str] | None = None, *, threshold: float | None = None
    ) -> Predictions:
        """Names, scores and decisions of features (N, ...), for a model that takes them.

        Raises:
            ShapeError: features of another shape than the model's.
            OptionError: a model of images.
        """
        if self.takes_images:
            raise OptionError("this model takes images, not features: predict(images)")
        try:
            rows = torch.as_tensor(np.asarray(features, np.float32))
        except (TypeError, ValueError):
            raise ShapeError("features must be an array of numbers (N, ...)") from None
        wanted = self.card.architecture.inputs
        if tuple(rows.shape[1:]) != wanted:
            raise ShapeError(f"features {tuple(rows.shape)}: this model takes (N, {', '.join(map(str, wanted))})")
        logits = score_features(self.network, rows)
        names = items or [f"row {row}" for row in range(len(logits))]
        return self._decide(names, logits, [None] * len(logits), threshold)

    def _decide(
        self, items: list[str], logits: Tensor, errors: list[str | None], threshold: float | None
    ) -> Predictions:
        if threshold is not None and not 0 <= threshold <= 1:
            raise OptionError(f"threshold={threshold}: a score lies between 0 and 1")
        scores = torch.sigmoid(logits)
        decided = logits >= self.thresholds if threshold is None else scores >= threshold
        return Predictions(items, self.names, scores.numpy(), decided.numpy(), errors)
