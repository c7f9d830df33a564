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
# Of x86, then of ARM, by their names in Linux.
INSTRUCTIONS = (
    *("avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "sve", "i8mm", "bf16"),
)


def describe_environment() -> dict[str, Any]:
    """Return processor, caches, cores, threads, versions and commit as JSON values; unknown ones are None."""
    torch = sys.modules.get("torch")
    return {
        "processor": _processor(),
        "instructions": _instructions(),
        "caches": _caches(),
        "cores": usable_cores(),
        "torch_threads": torch.get_num_threads() if torch else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _instructions() -> list[str] | None:
    """Return the sets of instructions that decide the speed of matrix products, or None if unknown."""
    flags = (_cpuinfo("flags") or _cpuinfo("Features") or "").split()
    return [name for name in INSTRUCTIONS if name in flags] if flags else None


def _caches() -> dict[str, str] | None:
    """Return the size of each data cache of the first core, such as {"L2": "1024K"}, or None if unknown."""
    sizes = {}
    with contextlib.suppress(OSError):
        for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[f"L{level}"] = size
    return sizes or None


def _cpuinfo(key: str) -> str | None:
    """Return a property of the first core from Linux, or None."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return None


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
