"""Compile the losses' kernel when the package is built or installed, if there is a C++ compiler.

Without one the package is the same, only slower: the losses then are their formulas in PyTorch operations. On
x86 there is one library for each level of vector instructions, and the package picks by what PyTorch says of the
processor; elsewhere the compiler's default is what there is.
"""

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/rarecall/losses/kernel/losses.cpp"
TARGET = "src/rarecall/losses/_kernel_{}.so"
FLAGS = "-std=c++17 -O3 -fno-math-errno -fno-trapping-math -fno-signed-zeros -ffp-contract=fast -shared -fPIC"
X86 = {"avx2": "-march=x86-64-v3", "avx512": "-march=x86-64-v4 -mprefer-vector-width=512"}


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds what could be compiled to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile for each level; a wheel with a library is one of this platform."""
        root = Path(self.root)
        if not (root / SOURCE).exists() or sys.platform == "win32":
            return
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        built = [level for level, flags in (X86 if x86 else {"default": ""}).items() if compiled(root, level, flags)]
        if not built:
            self.app.display_warning("no C++ compiler: the losses will run without their kernel")
            return
        build_data["artifacts"] += [TARGET.format(level) for level in built]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compiled(root: Path, level: str, flags: str) -> bool:
    """Compile for one level, with threads if the compiler has them; False if it fails."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    output = root / TARGET.format(level)
    for threads in (["-fopenmp"], ["-fopenmp-simd"]):
        draft = output.with_suffix(f".{os.getpid()}")
        command = [*compiler, *FLAGS.split(), *flags.split(), *threads, "-o", str(draft), str(root / SOURCE)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError):
            draft.unlink(missing_ok=True)
            continue
        draft.replace(output)
        return True
    return False
