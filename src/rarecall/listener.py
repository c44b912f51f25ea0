"""Who is told of what takes long: how far it is, what was noticed, how a training goes."""


class Listener:
    """Is told, and does nothing; a base for those that care for a part of it."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """So many of a kind are done (`images`, `runs`, `steps`, …), of so many or of a number not known."""

    def say(self, kind: str, sentence: str) -> None:
        """A `warning` about something lost, or a `note`; each once."""

    def epoch(self, history: list[dict[str, float]], best_epoch: int | None, epochs: int, part: str | None) -> None:
        """An epoch of a training has ended; the last row of the history is its own.

        The best so far is None where the last is kept, and the part is that of the figures `val_*`, if there is one.
        """

    def log(self, values: dict[str, float], step: int) -> None:
        """Figures of a step or an epoch of a training."""
