"""Retrieval of the same person in other cameras: cumulative matching and mean average precision."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rarecall.errors import OptionError, ShapeError, unknown_name
from rarecall.metrics._places import Places, order_numbers, sort_rows
from rarecall.metrics._shared import check_finite

BLOCK = 1 << 21  # distances that are sorted at a time: about a hundred megabytes of working memory
JUNK, DISTRACTOR = -1, 0
INTERPOLATIONS = ("step", "trapezoid")


@dataclass(frozen=True)
class Retrieval:
    """How well the gallery, sorted by distance, answers the queries.

    Attributes:
        rank: for each rank k, the share of the counted queries with a match among the k nearest (CMC), from 0 to 1.
        mean_average_precision: over the counted queries, from 0 to 1.
        queries: how many queries are counted: those with a match in the gallery.
        left_out: how many queries have none.
    """

    rank: dict[int, float]
    mean_average_precision: float
    queries: int
    left_out: int


def cumulative_matching(
    distances: Float[Tensor, "queries gallery"],
    query_identities: Int[Tensor, " queries"],
    gallery_identities: Int[Tensor, " gallery"],
    query_cameras: Int[Tensor, " queries"],
    gallery_cameras: Int[Tensor, " gallery"],
    *,
    ranks: Iterable[int] = (1, 5, 10, 20),
    interpolation: str = "step",
) -> Retrieval:
    r"""Cumulative matching characteristic and mean average precision by the rules of Market-1501, single query.

    A match is a gallery image of the query's identity in another camera. Gallery images of the same identity and
    the same camera, and those of identity -1, are junk: they are taken out before anything is ranked. Identity 0
    is a distractor: it stays, and is always wrong. Queries without a match are left out and counted. Equal
    distances stand in the order of the gallery.

    With matches at the places `p_1 < … < p_m` of what is left of the gallery, average precision is

    - `step`: `1/m Σ_h h / p_h`, of the field's toolboxes (torchreid, fast-reid) and of `average_precision`;
    - `trapezoid`: `1/m Σ_h (h / p_h + (h - 1) / (p_h - 1)) / 2`, with 1 for the second term at place 1, of
      Market-1501's original code. It is the lower one, and only figures of the same kind compare.

    Args:
        distances: (Q, G), from each query to each gallery image; lower is more alike. Only their order counts.
        query_identities: (Q,).
        gallery_identities: (G,), with -1 for junk and 0 for distractors.
        query_cameras: (Q,).
        gallery_cameras: (G,).
        ranks: the ranks of the matching characteristic. Default 1, 5, 10 and 20, the field's.
        interpolation: `step` or `trapezoid`. Default `step`.

    Returns:
        The figures; NaN if no query has a match.

    Raises:
        OptionError: a rank that is no whole number of 1 or more, or another `interpolation`.
        ShapeError: the shapes do not fit, a distance is not finite, or an identity or camera is no whole number.

    >>> distances = torch.tensor([[0.1, 0.2, 0.3]])
    >>> person, camera = torch.tensor([7]), torch.tensor([1])
    >>> cumulative_matching(distances, person, torch.tensor([7, 0, 7]), camera, torch.tensor([1, 2, 2]), ranks=[1, 2])
    Retrieval(rank={1: 0.0, 2: 1.0}, mean_average_precision=0.5, queries=1, left_out=0)

    Reference: L. Zheng et al., Scalable person re-identification: a benchmark, ICCV 2015, section 5.
    """
    ranks = _checked_ranks(ranks)
    if interpolation not in INTERPOLATIONS:
        raise OptionError(unknown_name("interpolation", interpolation, INTERPOLATIONS))
    query, gallery = (query_identities, query_cameras), (gallery_identities, gallery_cameras)
    _check_people(distances, query, gallery)
    rows = max(1, BLOCK // max(1, distances.shape[1]))
    blocks = zip(*(values.split(rows) for values in (distances.detach(), *query)), strict=True)
    parts = [_of_block(near, (who, where), gallery, interpolation) for near, who, where in blocks]
    precision, first = (torch.cat(values) for values in zip(*parts, strict=True))
    counted = ~precision.isnan()
    return Retrieval(
        {rank: float((first[counted] <= rank).double().mean()) for rank in ranks},
        float(precision.nanmean()),
        int(counted.sum()),
        int((~counted).sum()),
    )


People = tuple[Tensor, Tensor]
"""Identities and cameras of some images."""


def _of_block(
    distances: Tensor, query: People, gallery: People, interpolation: str
) -> tuple[Float[Tensor, " queries"], Float[Tensor, " queries"]]:
    """Average precision of each query and the place of its first match, both NaN without a match."""
    identities = gallery[0].to(distances.device, torch.int64)  # an unsigned type has no -1
    same, seen = (
        ours.to(distances.device)[:, None] == theirs.to(distances.device)
        for ours, theirs in zip(query, gallery, strict=True)
    )
    junk = (same & seen) | (identities == JUNK)
    places = _ranked(distances, same & ~junk & (identities != DISTRACTOR), junk)
    hits, place = places.hits.double(), places.at_least
    precision = hits / place
    if interpolation == "trapezoid":
        just_before = torch.where(place > 1, (hits - 1) / (place - 1).clamp(min=1), 1.0)
        precision = (precision + just_before) / 2
    return places.sum(precision) / places.positives, -places.largest(-place)


def _ranked(distances: Tensor, matches: Tensor, junk: Tensor) -> Places:
    """Where the matches stand among what is not junk, the nearest highest."""
    size = distances.shape[1]
    # The place in the gallery is written behind the distance: no two numbers are equal, so no order is left open.
    order = torch.arange(size - 1, -1, -1, device=distances.device)
    keys = ((order_numbers(-distances).long() * size + order) << 1) | ~matches
    sort_rows(keys.masked_fill_(junk, torch.iinfo(keys.dtype).max))
    flat = ((keys & 1) == 0).flatten().nonzero().flatten()
    return Places(keys, (~junk).sum(1), matches.sum(1), flat)


def _checked_ranks(ranks: Iterable[int]) -> tuple[int, ...]:
    ranks = tuple(ranks)
    for rank in ranks:
        if not isinstance(rank, int) or rank < 1:
            raise OptionError(f"ranks={ranks}: each must be a whole number of 1 or more")
    return ranks


def _check_people(distances: Any, query: tuple[Any, Any], gallery: tuple[Any, Any]) -> None:
    """Refuse what is no table of finite distances with a whole number for each row and each column, twice."""
    check_finite("distances", distances)
    if distances.ndim != 2:
        raise ShapeError(f"distances {tuple(distances.shape)} must have two dimensions: (queries, gallery)")
    for side, people, size in zip(("query", "gallery"), (query, gallery), distances.shape, strict=True):
        for kind, values in zip(("identities", "cameras"), people, strict=True):
            _check_numbers(f"{side}_{kind}", values, size)


def _check_numbers(name: str, values: Any, size: int) -> None:
    if not isinstance(values, Tensor):
        raise ShapeError(f"{name} must be a tensor, not {type(values).__name__}: pass torch.as_tensor(…)")
    if values.shape != (size,) or values.is_floating_point():
        found = f"{values.dtype} {tuple(values.shape)}"
        raise ShapeError(f"{name} must be whole numbers ({size},), as many as there are distances, not {found}")
