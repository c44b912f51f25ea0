"""Compile the losses' kernel when the package is built or installed, if there is a C++ compiler.

Without one the package is the same, only slower: the losses then are their formulas in PyTorch operations. On
x86 there is one library for each level of vector instructions, and the package picks by what PyTorch says of the
processor; elsewhere the compiler's default is what there is.
"""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "src/rarecall/losses"
FLAGS = "-std=c++17 -O3 -fno-math-errno -fno-trapping-math -fno-signed-zeros -ffp-contract=fast -shared -fPIC"
X86 = {"avx2": "-march=x86-64-v3", "avx512": "-march=x86-64-v4 -mprefer-vector-width=512"}


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds what could be compiled to the wheel; an editable install has it beside the source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile for each level; a wheel with a library is one of this platform."""
        root, editable = Path(self.root), version == "editable"
        self.folder = tempfile.TemporaryDirectory()
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        levels = {} if sys.platform == "win32" else X86 if x86 else {"default": ""}
        for level, flags in levels.items():
            name = f"_kernel_{level}.so"
            output = (root / PACKAGE if editable else Path(self.folder.name)) / name
            output.unlink(missing_ok=True)
            failure = compile_kernel(root / PACKAGE / "kernel" / "losses.cpp", output, flags)
            if failure:
                self.app.display_warning(f"the losses will run without their kernel for {level}: {failure}")
                continue
            if not editable:
                build_data["force_include"][str(output)] = f"rarecall/losses/{name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what the wheel has taken in."""
        self.folder.cleanup()


def compile_kernel(source: Path, output: Path, flags: str) -> str:
    """Compile, with threads if the compiler has them; the last words of what went wrong, or nothing."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    version = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    draft, failure = output.with_suffix(f".{os.getpid()}"), ""
    for threads in ("-fopenmp", "-fopenmp-simd"):
        options = [*FLAGS.split(), *flags.split(), threads, f'-DRARECALL_SOURCE="{version}"']
        try:
            subprocess.run(
                [*compiler, *options, "-o", str(draft), str(source)],
                check=True,
                capture_output=True,
                text=True,
                timeout=300,
            )
        except OSError as error:
            failure = f"{compiler[0]}: {error.strerror}"
        except subprocess.CalledProcessError as error:
            failure = (error.stderr.strip().splitlines() or [f"{compiler[0]} failed"])[-1]
        except subprocess.TimeoutExpired:
            failure = f"{compiler[0]} took too long"
        else:
            draft.replace(output)
            return ""
        draft.unlink(missing_ok=True)
    return failure
