"""The machine and the versions of a measurement."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from mobilesam.cores import usable_cores
from mobilesam.versions import installed_version

PACKAGES = ("mobilesam", "mobilesam-mirror", "numpy", "pillow", "opencv-python", "torch", "onnxruntime")


def describe_environment() -> dict[str, Any]:
    """Return processor, usable cores, threads, versions and commit as JSON values; unknown ones are None."""
    torch = sys.modules.get("torch")
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "torch_threads": torch.get_num_threads() if torch else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of the checkout from which this package is imported, with "+" if files were changed."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        head, changed = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")
