"""The command line as tests call it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

RARECALL = [sys.executable, "-m", "rarecall"]
BACKBONE = ["--model", "mobilenetv3_small_050", "--weights", "none", "--image-size", "32"]


def run_process(*arguments: str | Path, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process and wait for it."""
    command = [*RARECALL, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options)


Run = Callable[..., subprocess.CompletedProcess[str]]


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, and one `error:` line on stderr with these words."""
    errors = [line for line in done.stderr.splitlines() if not line.startswith(("note:", "warning:"))]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    for word in words:
        assert word in errors[0]
