"""Heads: what is trained on top of features."""

from typing import Any

from torch import nn

from rarecall.errors import OptionError

TEMPLATES = 32
GLYPH = 8


def build_head(shape: tuple[int, ...], classes: int, hidden: int = 0, dropout: float = 0.0) -> nn.Module:
    """A head for features of the given shape.

    Vectors get a linear layer, or one hidden layer of `hidden` units with ReLU and dropout. Pixel canvases
    (channels, H, W) first get a small network of their own: 32 templates of 8 × 8 slid over the canvas, each
    kept where it fits best.

    >>> build_head((512,), classes=20)
    Sequential(
      (0): Linear(in_features=512, out_features=20, bias=True)
    )
    """
    if hidden < 0 or not 0 <= dropout < 1:
        raise OptionError(f"hidden={hidden}, dropout={dropout}: hidden must be at least 0 and dropout in [0, 1)")
    layers: list[nn.Module] = []
    width = shape[0]
    if len(shape) == 3:
        layers += [nn.Conv2d(width, TEMPLATES, GLYPH), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()]
        width = TEMPLATES
    if hidden:
        layers += [nn.Linear(width, hidden), nn.ReLU()]
        width = hidden
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(width, classes))


def head_defaults(shape: tuple[int, ...] | None) -> dict[str, Any]:
    """The head for this kind of features, and the batch it is trained in.

    Features of a frozen backbone (None) get a linear head; feature tables one hidden layer of 256 with dropout
    0.5; pixel canvases a hidden layer of 64 on top of their own small network, in batches of 64.

    >>> head_defaults((512,))
    {'hidden': 256, 'dropout': 0.5}
    """
    if shape is None:
        return {}
    return {"hidden": 256, "dropout": 0.5} if len(shape) == 1 else {"hidden": 64, "batch_size": 64}
