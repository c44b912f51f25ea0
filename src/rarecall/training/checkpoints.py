"""Where a training stands: one safetensors file for each checkpoint, complete or not there at all.

A file carries a hash of everything in it. What a killed process, a full disk or a fault of the disk has
damaged is recognised by it, and the checkpoint before is used.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from rarecall.errors import TrainingError
from rarecall.files import remove_parts, write_bytes
from rarecall.training.step import Stepper

KEPT = 2
_PATTERN = "step-*.safetensors"


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        key: of the training that this is; another one's checkpoints are refused.
        step: optimiser steps so far.
        loss_sum: of the steps of the unfinished epoch.
        history: one row for each finished epoch.
        best: weights of the epoch that is kept so far, on the CPU.
        scaler: state of the float16 loss scaler.
    """

    key: str = ""
    step: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)


def save(folder: Path, progress: Progress, stepper: Stepper) -> None:
    """Put a checkpoint in place in one step; the last two are kept."""
    write(folder / f"step-{progress.step:09d}.safetensors", progress, stepper)
    for old in sorted(folder.glob(_PATTERN))[:-KEPT]:
        old.unlink()


def write(file: Path, progress: Progress, stepper: Stepper) -> None:
    """Write everything that a training needs to go on: network, loss, optimisers, and the weights that are kept."""
    tensors = {f"network.{name}": tensor for name, tensor in stepper.network.state_dict().items()}
    tensors |= {f"loss.{name}": tensor for name, tensor in stepper.loss.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best.items()}
    for which, optimizer in enumerate(stepper.optimizers):
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{which}.{number}.{name}": torch.as_tensor(value)
                for name, value in state.items()
                if value is not None
            }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {name: value for name, value in vars(progress).items() if name != "best"}
    text = json.dumps(facts)
    metadata = {"progress": text, "hash": _hash(text, tensors)}
    write_bytes(file, serialise(tensors, metadata=metadata))


def restore(folder: Path, key: str, stepper: Stepper) -> tuple[Progress | None, list[str]]:
    """Fill a stepper from the newest sound checkpoint; the names of damaged ones, which are put aside.

    Raises:
        TrainingError: the checkpoint is of another training.
        OSError: a file cannot be read just now, which is no damage.
    """
    remove_parts(folder)
    damaged: list[str] = []
    for file in sorted(folder.glob(_PATTERN), reverse=True):
        loaded = _read(file)
        if loaded is not None:
            if loaded[0]["key"] != key:
                raise TrainingError(f"{folder}: holds checkpoints of another training: pass another folder")
            return _fill(*loaded, stepper), damaged
        damaged.append(file.name)
        file.replace(file.with_suffix(".damaged"))
    return None, damaged


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    try:
        with safe_open(file, framework="pt") as stored:
            metadata = stored.metadata()
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
        if metadata["hash"] != _hash(metadata["progress"], tensors):
            return None
        return json.loads(metadata["progress"]), tensors
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None


def _fill(facts: dict[str, Any], tensors: dict[str, Tensor], stepper: Stepper) -> Progress:
    stepper.network.load_state_dict(_below("network.", tensors))
    stepper.loss.load_state_dict(_below("loss.", tensors))
    for which, optimizer in enumerate(stepper.optimizers):
        _fill_optimizer(optimizer, _below(f"optimizer.{which}.", tensors))
    return Progress(**facts, best=_below("best.", tensors))


def _fill_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        parameter = parameters[int(number)]
        # Fused optimisers walk through memory, so a moment has to lie in it as its parameter does.
        alike = tensor.shape == parameter.shape
        states.setdefault(int(number), {})[key] = torch.empty_like(parameter).copy_(tensor) if alike else tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _hash(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
