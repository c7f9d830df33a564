"""The machine and the versions of a measurement."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from mobilesam.cores import cpu_property, instructions, usable_cores
from mobilesam.versions import installed_version

PACKAGES = ("mobilesam", "mobilesam-mirror", "numpy", "pillow", "opencv-python", "torch", "onnxruntime")


def describe_environment() -> dict[str, Any]:
    """Return processor, caches, cores, threads, versions and commit as JSON values; unknown ones are None."""
    torch = sys.modules.get("torch")
    return {
        "processor": _processor(),
        "instructions": instructions(),
        "caches": _caches(),
        "cores": usable_cores(),
        "torch_threads": torch.get_num_threads() if torch else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    return cpu_property("model name") or platform.processor() or platform.machine()


def _caches() -> dict[str, str] | None:
    """Return the size of each data cache of the first core, such as {"L2": "1024K"}, or None if unknown."""
    sizes = {}
    with contextlib.suppress(OSError):
        for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[f"L{level}"] = size
    return sizes or None


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
