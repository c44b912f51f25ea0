"""The compiled kernel: single precision on a CPU, value and gradient in one pass.

It is an addition that may be missing: every loss is defined by differentiable tensor operations, and takes the
kernel only where it computes the same. `build_kernel.py` at the top of the project compiles it when the package is
installed, if there is a compiler.
"""

import ctypes
import hashlib
import math
import os
import warnings
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rarecall.errors import ModelError
from rarecall.losses._gradient import Formula, differentiable, is_plain
from rarecall.losses._shared import Option
from rarecall.losses._torch_internals import is_observed

_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float
_BATCH = [_POINTER, _POINTER, _LONG, _LONG]  # logits, targets, rows, columns
_SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "rarecall_pointwise": (
        [_INT, *_BATCH, _POINTER, _POINTER, _POINTER, _POINTER, _INT, *[_FLOAT] * 4, _POINTER, _INT],
        ctypes.c_double,
    ),
    "rarecall_ranking": (
        [_INT, _INT, _INT, *_BATCH, _LONG, _POINTER, _INT, _INT, _INT, ctypes.c_double, _POINTER, _POINTER, _INT],
        ctypes.c_double,
    ),
    "rarecall_ranking_gradient": (
        [_INT, _INT, _INT, *_BATCH, _LONG, _POINTER, _INT, _INT, _POINTER, _POINTER, _POINTER, _INT],
        None,
    ),
    "rarecall_probability": ([_POINTER, _LONG, _INT], ctypes.c_double),
    "rarecall_teach": (
        [_POINTER, *_BATCH, ctypes.c_double, ctypes.c_double, _POINTER, _POINTER, _POINTER, _INT],
        _INT,
    ),
    "rarecall_believe": ([_POINTER, _POINTER, _LONG, _LONG, _FLOAT, _POINTER, _INT], _INT),
    "rarecall_select": ([*_BATCH, _LONG, _POINTER, _INT], _LONG),
    "rarecall_count": ([_POINTER, _LONG, _POINTER, _INT], None),
}


class EntryTerm(IntEnum):
    """What is made of one entry; `losses.cpp` has the same names in the same order, and so have the next two."""

    CROSS_ENTROPY = 0
    FOCAL = 1
    ASYMMETRIC = 2
    HILL = 3
    SHIFTED_FOCAL = 4
    REBALANCED = 5
    GENERALIZED_ROBUST = 6
    ENTROPY = 7
    SELECTED = 8
    EXPECTED = 9
    SHIFTED = 10


class SetScore(IntEnum):
    """What is exponentiated in the log-sum-exps of a row or a column."""

    LINEAR = 0
    CIRCLE = 1


class SetTerm(IntEnum):
    """What is made of these log-sum-exps."""

    MARGIN = 0
    SEPARATE = 1
    CONSTRAINED = 2
    SOFTMAX = 3


CASES = (EntryTerm, SetScore, SetTerm)
LEVELS = {"avx512": ("avx512", "avx2"), "avx2": ("avx2",)}  # of vector instructions, the best first


def load(folder: Path = Path(__file__).parent) -> ctypes.CDLL | None:
    """The kernel for this processor, or None if there is none.

    Raises:
        ModelError: there is none, and RARECALL_KERNEL is `require`.
    """
    wanted = os.environ.get("RARECALL_KERNEL", "")
    loaded = None if wanted == "0" else _load(folder)
    if loaded is None and wanted == "require":
        raise ModelError("RARECALL_KERNEL=require: there is no kernel for this processor: install with a C++ compiler")
    return loaded


def _load(folder: Path) -> ctypes.CDLL | None:
    capability = torch.backends.cpu.get_cpu_capability().lower()
    libraries = [folder / f"_kernel_{level}.so" for level in LEVELS.get(capability, ("default",))]
    library = next((library for library in libraries if library.exists()), None)
    if library is None:
        return None
    try:
        loaded = ctypes.CDLL(str(library))
        source = _text(loaded.rarecall_source)
    except (OSError, AttributeError):  # of another platform
        return None
    wrong = ""
    if source != source_of(folder / "kernel" / "losses.cpp"):
        wrong = "was compiled from another losses.cpp"
    elif _text(loaded.rarecall_cases) != names_of_cases():
        wrong = "numbers its cases otherwise than _kernel.py"
    if wrong:
        warnings.warn(f"{library.name} {wrong} and is left out: install the package again", stacklevel=2)
        return None
    for name, (arguments, result) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, result
    return loaded


def source_of(file: Path) -> str:
    """What names a version of the source; `build_kernel.py` compiles the same into the library."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def names_of_cases() -> str:
    """The cases by their numbers, one enumeration a line, as `losses.cpp` tells its own."""
    return "\n".join(" ".join([cases.__name__, *(case.name for case in sorted(cases))]) for cases in CASES)


def _text(function: Any) -> str:
    function.restype = ctypes.c_char_p
    return str(function().decode())


LIBRARY = load()


class Call(NamedTuple):
    """A pointwise loss as the kernel knows it.

    Attributes:
        term: of an entry.
        options: its numbers; a tensor among them rules the kernel out.
        present_weight: of each class, (1, C); None: 1. So are the next four, the last three with None: 0.
        absent_weight: of each class.
        present_bias: added to the logit of a present entry, of each class.
        absent_bias: added to the logit of an absent entry.
        rarity: of each class.
        rows: (N, 1) weights of the rows, or None.
        extras: (N, C) a number for each entry, or None.
        factor: what every term is multiplied by.
        absent_factor: what the terms of absent and of unknown entries are multiplied by besides.
        unknown_factor: what those of unknown entries are multiplied by besides.
        soft: what terms with soft targets are multiplied by besides.
    """

    term: EntryTerm
    options: Sequence[Option] = ()
    present_weight: Tensor | None = None
    absent_weight: Tensor | None = None
    present_bias: Tensor | None = None
    absent_bias: Tensor | None = None
    rarity: Tensor | None = None
    rows: Tensor | None = None
    extras: Tensor | None = None
    factor: Option = 1.0
    absent_factor: float = 1.0
    unknown_factor: float = 1.0
    soft: Option = 1.0

    def tensors(self) -> tuple[Tensor | None, ...]:
        """The options of classes, rows and entries in the order of the kernel."""
        return self[2:9]

    def fits(self, logits: Tensor) -> bool:
        """Whether its options are numbers, and constants of the classes, rows and entries of the logits."""
        for number in (*self.options, self.factor, self.soft):
            if isinstance(number, Tensor):
                return False
        shape = logits.shape
        for place, tensor in enumerate(self.tensors()):
            if tensor is not None:
                wanted = (1, shape[1]) if place < 5 else (shape[0], 1) if place == 5 else shape
                if tensor.shape != wanted or tensor.requires_grad or tensor.device != logits.device:
                    return False
        return True

    def is_alike_in_all_rows(self) -> bool:
        """Whether a row's loss depends on nothing but its logits and targets."""
        return self.rarity is self.rows is self.extras is None


class Ranking(NamedTuple):
    """A loss over rows or columns as the kernel knows it.

    Attributes:
        kind: what is made of the log-sum-exps.
        factors: of negatives and positives, for each pair; or gamma and margin of the circle loss.
        temperatures: that the log-sum-exps of negatives and of positives are multiplied by.
        bias: added to their sum.
        second: whether the second pair's negatives and positives take part.
        needs_positive: only rows and columns with a positive count.
        score: what is exponentiated.
        bucket: columns reach over so many consecutive rows; None: over all.
    """

    kind: SetTerm
    factors: Sequence[Option]
    temperatures: tuple[Option, Option] = (1.0, 1.0)
    bias: Option = 0.0
    second: tuple[bool, bool] = (False, False)
    needs_positive: bool = False
    score: SetScore = SetScore.LINEAR
    bucket: int | None = None

    def fits(self, _: Tensor) -> bool:
        """Whether its options are numbers."""
        numbers = (*self.factors, *self.temperatures, self.bias)
        return not any(isinstance(number, Tensor) for number in numbers) and 0 not in self.temperatures


class TargetSums(NamedTuple):
    """Of a batch: entries that are known, the sum of their targets, how many of these are soft, and no labels."""

    known: float
    present: float
    soft: float
    wrong: float


def takes(logits: Tensor, targets: Tensor, call: Call | Ranking | None = None) -> bool:
    """Whether the kernel can compute this: plain float32 matrices on a CPU, plain numbers as options."""
    return (
        LIBRARY is not None
        and is_plain(logits, targets)
        and logits.dtype == torch.float32
        and logits.device.type == "cpu"
        and logits.numel() > 0
        and (call is None or call.fits(logits))
    )


def can_look_at(*tensors: Tensor) -> bool:
    """Whether the numbers are at hand: on a CPU, and not traced."""
    if torch.compiler.is_compiling() or any(tensor.device.type != "cpu" for tensor in tensors):
        return False
    return not is_observed()


def count(targets: Tensor) -> TargetSums:
    """Count the known entries, add up their targets, count those between 0 and 1, and what is no label."""
    targets, counts = targets.contiguous(), (ctypes.c_double * 4)()
    _library().rarecall_count(_address(targets), targets.numel(), counts, torch.get_num_threads())
    return TargetSums(*counts)


def pointwise(
    logits: Tensor,
    targets: Tensor,
    call: Call,
    scales: tuple[float, float, float],
    hard: bool,
    formula: Formula,
    plus: float = 0.0,
) -> Tensor:
    """The sum of one term per entry, each times the scale of a present, an absent or an unknown one.

    `hard` says that no target is soft. `formula` is the same by differentiable operations, for whoever
    differentiates twice. `plus` is added to the value.
    """
    given = (targets, *call.tensors())
    held = [None if tensor is None else tensor.detach().contiguous().to(torch.float32) for tensor in given]

    def run(logits: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        gradient = torch.empty_like(logits) if wanted else None
        labels, *classes, rows, extras = (_address(tensor) for tensor in held)
        value = _library().rarecall_pointwise(
            call.term,
            _address(logits),
            labels,
            *logits.shape,
            _floats(call.options),
            (_POINTER * 5)(*classes),
            rows,
            extras,
            hard,
            scales[0] * call.factor,
            scales[1] * call.factor * call.absent_factor,
            scales[2] * call.factor * call.absent_factor * call.unknown_factor,
            call.soft,
            _address(gradient),
            torch.get_num_threads(),
        )
        return logits.new_tensor(value + plus), gradient

    return differentiable(logits, [tensor for tensor in given if tensor is not None], run, formula)


def ranking(logits: Tensor, targets: Tensor, call: Ranking, ways: str, weight: float, formula: Formula) -> Tensor:
    """A loss over rows, columns or both; every term times the weight, or if it is 0, the mean of each way.

    `formula` is the same by differentiable operations.
    """
    labels = targets.detach().contiguous()
    by_row, by_column = ways != "class", ways in ("class", "both")
    rows, columns = labels.shape
    bucket = call.bucket or rows
    sets = by_row * rows + by_column * columns * math.ceil(rows / bucket)
    pairs = len(call.factors) // 2
    # As the kernel reads them: two factors of each pair, temperatures, bias, what takes part of the second pair.
    factors = call.factors if pairs == 2 else (*call.factors, 0.0, 0.0)
    options = _floats((*factors, *call.temperatures, call.bias, *call.second))

    def run(logits: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        # Log-sum-exps and the derivatives by them; the softmax has a third row for what comes down to its targets.
        lse, down = (logits.new_empty(max(2 * pairs, 3), sets) for _ in range(2))
        kind = (call.kind, call.score, pairs)
        batch = (_address(logits), _address(labels), rows, columns, bucket, options, by_row, by_column)
        results = (_address(lse), _address(down))
        threads = torch.get_num_threads()
        value = _library().rarecall_ranking(*kind, *batch, call.needs_positive, weight, *results, threads)
        gradient = torch.empty_like(logits) if wanted else None
        if gradient is not None:
            _library().rarecall_ranking_gradient(*kind, *batch, *results, _address(gradient), threads)
        return logits.new_tensor(value), gradient

    return differentiable(logits, [targets], run, formula)


def total_probability(logits: Tensor) -> float:
    """The sum of the sigmoids."""
    logits = logits.detach().contiguous()
    return float(_library().rarecall_probability(_address(logits), logits.numel(), torch.get_num_threads()))


class Taught(NamedTuple):
    """One of two matrices that teach each other: its value and, if wanted, its gradient."""

    value: float
    gradient: Tensor | None


def teach(
    logits: Tensor, estimates: Tensor, targets: Tensor, expected_positives: float, factor: float, wanted: bool
) -> tuple[Taught, Taught] | None:
    """The two sides of `role`, that of the logits and that of the estimates; None if targets are no labels."""
    z, g, y = (tensor.detach().contiguous() for tensor in (logits, estimates, targets))
    gradients = [torch.empty_like(z) if wanted else None for _ in range(2)]
    values = (ctypes.c_double * 2)()
    batch = (_address(z), _address(g), _address(y), *z.shape)
    results = (values, *map(_address, gradients))
    if not _library().rarecall_teach(*batch, expected_positives, factor, *results, torch.get_num_threads()):
        return None
    return Taught(values[0], gradients[0]), Taught(values[1], gradients[1])


def believe(logits: Tensor, targets: Tensor, number: int, value: float) -> Tensor:
    """Unknown entries as absent ones, but the `number` of them with the largest logits as `value`."""
    logits, targets = logits.detach().contiguous(), targets.contiguous()
    result = torch.empty_like(targets)
    arguments = (targets.numel(), number, value, _address(result), torch.get_num_threads())
    changed = _library().rarecall_believe(_address(logits), _address(targets), *arguments)
    return result if changed else targets


def select(logits: Tensor, targets: Tensor, number: int) -> tuple[Tensor, int]:
    """For each row, how much of each entry is among the `number` largest absent terms, (N, C); and how many rows
    have a known entry.
    """
    logits, targets = logits.detach().contiguous(), targets.contiguous()
    chosen = torch.empty_like(logits)
    arguments = (*logits.shape, number, _address(chosen), torch.get_num_threads())
    return chosen, _library().rarecall_select(_address(logits), _address(targets), *arguments)


def _library() -> ctypes.CDLL:
    assert LIBRARY is not None
    return LIBRARY


def _floats(values: Sequence[Option]) -> Any:
    return (_FLOAT * 16)(*(float(value + 0.0) for value in values))  # a number, not the text of one


def _address(tensor: Tensor | None) -> int | None:
    """Where the kernel finds a matrix. Whatever else than contiguous floats would be read as garbage."""
    if tensor is None:
        return None
    assert tensor.dtype == torch.float32
    assert tensor.is_cpu
    assert tensor.is_contiguous()
    return tensor.data_ptr()
