"""Who is told of a training while it runs."""

from typing import Protocol


class Listener(Protocol):
    """What is told of a training while it runs."""

    def step(self, done: int, total: int) -> None:
        """So many steps of all are done."""

    def epoch(self, history: list[dict[str, float]], best_epoch: int, epochs: int) -> None:
        """An epoch has ended; the last row of the history is its own."""

    def say(self, kind: str, sentence: str) -> None:
        """A `warning` or a `note`."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Figures of a step or an epoch."""


class Silent:
    """A listener that does nothing; a base for those that care for a part."""

    def step(self, done: int, total: int) -> None:
        """Do nothing."""

    def epoch(self, history: list[dict[str, float]], best_epoch: int, epochs: int) -> None:
        """Do nothing."""

    def say(self, kind: str, sentence: str) -> None:
        """Do nothing."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Do nothing."""
