"""The output folder of a study.

study.json            what the study is: data, backbone, protocol
parts.parquet         the part of each item
runs/*.safetensors    one file per finished run, put there in one step
results.parquet       one row per run and class
summary.json          the leaderboard, the differences and the verdict
report.html           the page
"""

from pathlib import Path
from typing import Any

from rarecall.errors import StudyError
from rarecall.files import remove_parts
from rarecall.folders import FolderKind

STUDY = FolderKind("study", "study.json", "rarecall study", StudyError)


def open_folder(out: Path, identity: dict[str, Any]) -> Path:
    """Create the folder of this study, or continue it; returns the folder of its runs.

    Raises:
        StudyError: the folder holds another study, one of a later version, or something else.
    """
    runs = out / "runs"
    STUDY.check(out)
    begun = any(runs.glob("*.safetensors")) or any(out.glob(".training/*/*.safetensors"))
    STUDY.open(out, identity, begun=begun)
    runs.mkdir(exist_ok=True)
    remove_parts(runs)
    return runs
