"""Backbones: a timm network without its classifier, its weights, and how images are prepared for it."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, PositiveInt, ValidationError
from torch import Tensor, nn

from rarecall.errors import ModelError, OptionError, listing, unknown_name
from rarecall.models.devices import resolve_device

DEFAULT_MODEL = "resnet18"
LOADING_OPTIONS = {
    "cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict",
}  # fmt: skip


@dataclass(frozen=True)
class Backbone:
    """A frozen network and how images are prepared for it."""

    network: nn.Module
    description: dict[str, Any]  # everything that its features depend on: model, weights, preprocessing
    device: torch.device
    notes: tuple[str, ...] = ()  # what a user should know of it

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.description["image_size"]
        return height, width

    @cached_property
    def width(self) -> int:
        """How many features an image has."""
        return self.features(torch.zeros(1, 3, *self.image_size, dtype=torch.uint8)).shape[1]

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Pooled features (N, D) float32 on the CPU, of uint8 images (N, 3, H, W)."""
        mean, std = (torch.tensor(self.description[key], device=self.device)[:, None, None] for key in ("mean", "std"))
        features: Tensor = self.network(normalise(images.to(self.device), mean, std))
        return features.float().cpu()


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Float images of the backbone's mean and deviation, of uint8 images (N, 3, H, W).

    The channels lie last in memory, which doubles the speed of convolutions on a CPU.
    """
    scaled = images.contiguous(memory_format=torch.channels_last).float()
    return scaled.mul_(1 / (255 * std)).sub_(mean / std)  # in place: three passes over floats would be seen


def image_size(given: Any) -> tuple[int, int] | None:
    """Height and width of `HxW`, of one number for both, or of two numbers; None for None.

    Raises:
        OptionError: it is none of these.

    >>> image_size("128x64"), image_size(64), image_size([32, 16])
    ((128, 64), (64, 64), (32, 16))
    """
    if given is None:
        return None
    text = "x".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    if not match or "0" in (match[1], match[2]):
        raise OptionError(f"--image-size {text}: write height x width, as in 128x64")
    return int(match[1]), int(match[2] or match[1])


def load_backbone(
    model: str | None = None,
    weights: str = "pretrained",
    image_size: tuple[int, int] | None = None,
    *,
    device: str = "auto",
) -> Backbone:
    """Load a timm backbone without its classifier.

    Args:
        model: a timm model name; default: the one named in the JSON beside the weights file, else resnet18.
        weights: `pretrained` (fetched by timm), `none`, or a .safetensors file. A JSON of the same name beside
            the file may hold `model`, `model_options`, `mean`, `std` and `image_size`.
        image_size: height and width; default: the JSON's, else timm's for the model.
        device: that features are computed on: `auto`, `cpu` or `cuda`.

    Raises:
        ModelError: an unknown model, or weights that are missing, damaged or do not fit it.
    """
    import timm

    file = None if weights in ("pretrained", "none") else Path(weights).expanduser()
    card = _card(file) if file else {}
    name = model or card.get("model", DEFAULT_MODEL)
    options = card.get("model_options", {}) if name == card.get("model", name) else {}
    network = create(name, weights, options)
    fetched = timm.data.resolve_model_data_config(network)
    if file:
        _fill(network, file, name)
    network.reset_classifier(0)
    place = resolve_device(device)
    network.eval().requires_grad_(False).to(place).to(memory_format=torch.channels_last)
    size = image_size or tuple(card.get("image_size", fetched["input_size"][1:]))
    description = {
        "model": name,
        "model_options": options,
        "weights": file.name if file else weights,
        "weights_digest": _digest(network),
        "mean": list(card.get("mean", fetched["mean"])),
        "std": list(card.get("std", fetched["std"])),
        "image_size": list(size),
        "interpolation": "bicubic, antialiased",
    }
    notes = []
    if file and not card:
        notes.append(
            f"no {file.with_suffix('.json').name} beside the weights: mean, std and model options are timm's defaults "
            f"for {name}, which may not be those that the weights were trained with"
        )
    backbone = Backbone(network, description, place, tuple(notes))
    _try(backbone, name)
    return backbone


def create(name: str, weights: str, options: dict[str, Any], seed: int = 0) -> Any:
    """Build a timm network, whose weights timm fetches if they are to be pretrained.

    Args:
        name: of the model.
        weights: `pretrained` or `none`.
        options: of the model.
        seed: of random weights; one for all features, which are cached.

    Raises:
        ModelError: an unknown model, options that it does not take, or weights that cannot be fetched.
    """
    import timm

    if not timm.is_model(name) or ":" in name:  # a name with a colon would be fetched from a hub
        raise ModelError(_unknown_model(name))
    if refused := sorted(LOADING_OPTIONS & options.keys()):
        raise ModelError(f"{name}: model_options may not say what to load: remove {listing(refused)}")
    for chatty in ("timm", "huggingface_hub"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the same in every process
            return timm.create_model(name, pretrained=weights == "pretrained", **options)
    except Exception as error:  # noqa: BLE001 - timm and the hub raise many kinds when a download fails
        if weights != "pretrained":
            raise ModelError(f"{name}: cannot be built with {options}: {error}") from None
        raise ModelError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}): "
            "check the network, or pass --weights FILE.safetensors"
        ) from None


def _try(backbone: Backbone, name: str) -> None:
    """Send one empty image through, so that a size that does not fit is refused before any work."""
    height, width = backbone.image_size
    try:
        _ = backbone.width
    except Exception as error:  # noqa: BLE001 - each architecture refuses a size in its own way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{name} cannot take images of {height}x{width}: {reason}: pass another --image-size"
        ) from None


class _Card(BaseModel):
    """What a JSON beside a weights file may say; other keys are notes."""

    model: str | None = None
    model_options: dict[str, Any] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    image_size: tuple[PositiveInt, PositiveInt] | None = None


def _card(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ModelError(f"{file}: no such weights file: pass a .safetensors file, 'pretrained' or 'none'")
    beside = file.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{beside}: not readable as JSON ({error}): mend or remove it") from None
    try:
        return _Card.model_validate(card).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ModelError(f"{beside}: {where}: {first['msg']}: mend or remove it") from None


def _fill(network: nn.Module, file: Path, name: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: not readable as safetensors ({error}): fetch it again") from None
    wanted = network.state_dict()
    classifier = set(network.state_dict()) - set(_without_classifier(network))
    differing = [key for key in differing_layers(state, wanted) if key not in classifier]
    if differing:
        raise ModelError(
            f"{file}: does not fit {name}: {len(differing)} layers differ: {listing(differing, 3)}: "
            "pass the model that the weights are of as --model"
        )
    network.load_state_dict({key: state[key] for key in wanted if key not in classifier}, strict=False)


def differing_layers(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """The names that only one of the two has, or whose shapes differ."""
    shapes = [{key: tensor.shape for key, tensor in tensors.items()} for tensors in (state, wanted)]
    return [key for key in sorted(state.keys() | wanted.keys()) if shapes[0].get(key) != shapes[1].get(key)]


def _without_classifier(network: Any) -> list[str]:
    classifier = network.get_classifier()
    layers = classifier if isinstance(classifier, tuple) else (classifier,)
    owned = {id(parameter) for layer in layers for parameter in layer.parameters()}
    named = dict(network.named_parameters())
    return [key for key in network.state_dict() if key not in named or id(named[key]) not in owned]


def _unknown_model(name: str) -> str:
    import timm

    known = timm.list_models()
    message = unknown_name("model", name, known)
    return message.partition("Known: ")[0] + f"timm lists {len(known):,} names (timm.list_models())"


def _digest(network: nn.Module) -> str:
    """A hash of every weight, wherever they came from."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
