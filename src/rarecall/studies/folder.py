"""The output folder of a study: what it holds, whose it is, and which runs are already in it.

study.json            what the study is: data, backbone, protocol
runs/*.safetensors    one file per finished run, put there in one step
results.parquet       one row per run and class
summary.json          the leaderboard, the differences and the verdict
report.html           the page
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rarecall import __version__
from rarecall.errors import StudyError
from rarecall.files import remove_parts, write_text

FORMAT = 1


def open_folder(out: Path, identity: dict[str, Any]) -> Path:
    """Create the folder of this study, or continue it; returns the folder of its runs.

    Raises:
        StudyError: the folder holds another study, one of a later version, or something else.
    """
    check_folder(out)
    file, runs = out / "study.json", out / "runs"
    if file.is_file() and any(runs.glob("*.safetensors")):
        _require_same(file, identity)
    else:
        write_text(file, json.dumps({"format": FORMAT, "rarecall": __version__, "study": identity}, indent=1))
    runs.mkdir(exist_ok=True)
    remove_parts(out)
    remove_parts(runs)
    return runs


@contextmanager
def only_here(out: Path) -> Iterator[None]:
    """Keep a second process out of the folder; the lock ends with the process, however that ends.

    Raises:
        StudyError: another process is at work in the folder.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    file = out / ".lock"
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise StudyError(f"{out}: another process is running this study: wait for it, or pass another --out") from None
    try:
        yield
        file.unlink(missing_ok=True)
    finally:
        lock.release()


def check_folder(out: Path) -> None:
    """Refuse a folder that can be no study's, before any work is done.

    Raises:
        StudyError: it is a file, holds something else, or a study of a later version.
    """
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise StudyError(f"{nearest}: is a file, not a folder: pass another --out")
    if (out / "study.json").is_file():
        read_identity(out)
    elif out.is_dir() and any(not child.name.startswith(".") for child in out.iterdir()):
        raise StudyError(f"{out}: is not empty and holds no study: pass another --out")


def read_identity(out: Path) -> dict[str, Any]:
    """What the study in the folder is.

    Raises:
        StudyError: there is none, it is damaged, or it is of a later version.
    """
    file = out / "study.json"
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        number, identity = stored["format"], stored["study"]
    except FileNotFoundError:
        raise StudyError(f"{out}: holds no study (no study.json): run 'rarecall study' first") from None
    except (ValueError, KeyError, TypeError):
        raise StudyError(f"{file}: is damaged: pass another --out, or remove the folder") from None
    if number > FORMAT:
        raise StudyError(
            f"{out}: was written by rarecall {stored.get('rarecall')}, later than this {__version__}: "
            "upgrade, or pass another --out"
        )
    return dict(identity)


def _require_same(file: Path, identity: dict[str, Any]) -> None:
    stored = read_identity(file.parent)
    differing = sorted(_differences(stored, identity))
    if differing:
        raise StudyError(
            f"{file.parent}: holds another study, which differs in {', '.join(differing)}: pass another --out"
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
