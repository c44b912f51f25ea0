"""The network that is trained, kept and predicts: uint8 images or features in, one logit per class out."""

from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from rarecall.models.backbones import Backbone, create, normalise
from rarecall.models.heads import build_head


class Architecture(BaseModel):
    """What a classifier is built from, weights aside; all of it is JSON.

    Attributes:
        inputs: shape of one item: (3, H, W) for images, else that of the features.
        model: the timm backbone; None for a head on features.
        model_options: its options.
        mean, std: of each colour channel, on a scale from 0 to 1.
        interpolation: how images are brought to their size.
        classes: the number of logits.
        features: the width of the backbone's pooled features.
        hidden, dropout: of the head.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[PositiveInt, ...]
    model: str | None = None
    model_options: dict[str, Any] = {}
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["", "bicubic, antialiased"] = ""
    classes: PositiveInt
    features: PositiveInt | None = None
    hidden: NonNegativeInt = 0
    dropout: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _images_have_three_channels(self) -> Self:
        if self.model is not None and (len(self.inputs), self.inputs[0]) != (3, 3):
            raise ValueError(f"inputs {self.inputs} of {self.model} are not (3, height, width)")
        return self

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.inputs[1], self.inputs[2]

    def head(self) -> nn.Module:
        """A head with fresh weights."""
        shape = self.inputs if self.features is None else (self.features,)
        return build_head(shape, self.classes, self.hidden, self.dropout)

    def build(self) -> "Classifier":
        """The whole network with fresh weights, to be filled from a file."""
        return Classifier(self, None if self.model is None else initialised(self), self.head())


def initialised(architecture: Architecture, seed: int = 0) -> nn.Module:
    """The backbone of an architecture with the random weights of a seed."""
    assert architecture.model is not None
    network = create(architecture.model, "none", architecture.model_options, seed)
    network.reset_classifier(0)
    own: nn.Module = network
    return own


def architecture_of(
    backbone: Backbone | None, shape: tuple[int, ...], classes: int, hidden: int, dropout: float
) -> Architecture:
    """The architecture of a head on a backbone, or on features of a shape."""
    if backbone is None:
        return Architecture(inputs=shape, classes=classes, hidden=hidden, dropout=dropout)
    kept = {name: backbone.description[name] for name in ("model", "model_options", "mean", "std", "interpolation")}
    return Architecture(
        inputs=(3, *backbone.image_size), features=backbone.width, classes=classes, hidden=hidden, dropout=dropout,
        **kept,
    )  # fmt: skip


class Classifier(nn.Module):
    """A backbone, if there is one, and a head.

    Shapes: uint8 images (N, 3, H, W), or float32 features (N, ...) without a backbone, to float32 logits (N, C).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture, backbone: nn.Module | None, head: nn.Module) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = backbone
        self.head = head
        for name in ("mean", "std"):
            values = torch.tensor(getattr(architecture, name))[:, None, None]
            self.register_buffer(name, values, persistent=False)
        if backbone is not None:
            backbone.to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, C)."""
        if self.backbone is not None:
            inputs = self.backbone(normalise(inputs, self.mean, self.std))
        logits: Tensor = self.head(inputs)
        return logits.float()


def parameter_groups(
    network: Classifier, rate: float, backbone_rate: float, weight_decay: float, *, decay: str = "weights"
) -> list[dict[str, Any]]:
    """Parameters with the learning rate of their part.

    Args:
        network: whose parameters they are.
        rate: of the head.
        backbone_rate: of the backbone.
        weight_decay: of what decays.
        decay: `weights` spares biases and normalisation layers, `all` spares nothing.
    """
    groups = []
    for part, own_rate in ((network.backbone, backbone_rate), (network.head, rate)):
        trained = [parameter for parameter in part.parameters() if parameter.requires_grad] if part else []
        for decays in (True, False):
            own = [parameter for parameter in trained if (parameter.ndim > 1 or decay == "all") == decays]
            if own:
                groups.append({"params": own, "lr": own_rate, "weight_decay": weight_decay if decays else 0.0})
    return groups
