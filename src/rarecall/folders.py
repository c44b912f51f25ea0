"""Output folders that a command fills, that can be continued, and that belong to one process at a time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rarecall import __version__
from rarecall.errors import RarecallError
from rarecall.files import remove_parts, write_text

FORMAT = 2  # of the folders that this rarecall reads


@dataclass(frozen=True)
class FolderKind:
    """A kind of output folder.

    Attributes:
        what: its name in messages, as in `study`.
        file: the JSON in it that says whose work it holds.
        command: the command that fills it.
        error: what is raised if the folder cannot be used.
    """

    what: str
    file: str
    command: str
    error: type[RarecallError]

    def check(self, out: Path) -> None:
        """Refuse a folder that can be no such one, before any work is done.

        Raises:
            RarecallError: it is a file, holds something else, or work of a later version.
        """
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        if not nearest.is_dir():
            raise self.error(f"{nearest}: is a file, not a folder: pass another --out")
        if (out / self.file).is_file():
            self.read_identity(out)
        elif out.is_dir() and any(not child.name.startswith(".") for child in out.iterdir()):
            raise self.error(f"{out}: is not empty and holds no {self.what}: pass another --out")

    @contextmanager
    def only_here(self, out: Path) -> Iterator[None]:
        """Keep a second process out of the folder; the lock ends with the process, however that ends.

        Raises:
            RarecallError: another process is at work in the folder, or the folder holds something else.
        """
        self.check(out)
        out.mkdir(parents=True, exist_ok=True)
        file = out / ".lock"
        lock = FileLock(file, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise self.error(
                f"{out}: another process is running this {self.what}: wait for it, or pass another --out"
            ) from None
        try:
            yield
            file.unlink(missing_ok=True)
        finally:
            lock.release()

    def open(self, out: Path, identity: dict[str, Any], *, begun: bool) -> None:
        """Write down whose folder this is, or, if work has begun, require that it is the same.

        Raises:
            RarecallError: the folder holds other work.
        """
        file = out / self.file
        if file.is_file() and begun:
            self._require_same(out, identity)
        else:
            write_text(file, json.dumps({"format": FORMAT, "rarecall": __version__, self.what: identity}, indent=1))
        remove_parts(out)

    def read_identity(self, out: Path, instead: str = "pass another --out") -> dict[str, Any]:
        """What the folder is for; `instead` says what to do about one that cannot be read.

        Raises:
            RarecallError: it is for nothing, damaged, or of a later version.
        """
        file = out / self.file
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            number, identity = stored["format"], stored[self.what]
        except FileNotFoundError:
            raise self.error(f"{out}: holds no {self.what} (no {self.file}): run '{self.command}' first") from None
        except (ValueError, KeyError, TypeError):
            raise self.error(f"{file}: is damaged: pass another --out, or remove the folder") from None
        if number != FORMAT:
            by = f"was written by rarecall {stored.get('rarecall')}"
            if number > FORMAT:
                raise self.error(f"{out}: {by}, later than this {__version__}: upgrade, or {instead}")
            raise self.error(f"{out}: {by}, in a form that is read no more ({number}, today's is {FORMAT}): {instead}")
        return dict(identity)

    def _require_same(self, out: Path, identity: dict[str, Any]) -> None:
        # Through JSON, as what is stored has been: tuples are lists there.
        # The path of the data is a fact and no difference: their fingerprint decides.
        stored, wanted = self.read_identity(out), json.loads(json.dumps(identity))
        differing = _differences(stored | {"source": None}, wanted | {"source": None})
        if differing:
            raise self.error(
                f"{out}: holds another {self.what}, which differs in {', '.join(sorted(differing))}: pass another --out"
            )


def _differences(stored: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            line
            for key in {**stored, **wanted}
            for line in _differences(stored.get(key), wanted.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if stored == wanted else [f"{name} ({_short(stored)} there, {_short(wanted)} here)"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"
