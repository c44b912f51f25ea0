"""A listener that tests ask."""

from rarecall.listener import Listener


class Ear(Listener):
    """Notes what is said and how far things are."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.heard: list[tuple[str, int, int | None]] = []

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Note it."""
        self.heard.append((what, done, total))

    def say(self, kind: str, sentence: str) -> None:
        """Note it."""
        self.said.append(f"{kind}: {sentence}")
