"""The reference package, PyPI ``mobilesam-mirror``, in a virtual environment of its own."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "mobilesam-mirror==1.0.0"
# What it imports and does not declare, and what this package imports in the same environment.
UNDECLARED = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pillow")
UNDECLARED += ("safetensors", "platformdirs", "pycocotools", "onnx", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every script has which runs the reference."""
    parser.add_argument("--reference-python", type=Path, help="an interpreter that has the reference installed")
    parser.add_argument("--reference-env", type=Path, default=ROOT / ".venv-reference", help="else: made here")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of either package")
    parser.add_argument("--checkpoint", type=Path, help="weights in safetensors; by default those of mobilesam")


def interpreter(arguments: argparse.Namespace) -> Path:
    """Return the reference's Python, making its environment first if there is none."""
    if arguments.reference_python:
        return arguments.reference_python
    folder = arguments.reference_env
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if not ready.exists():
        print(f"installing {PACKAGE} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", PACKAGE, *UNDECLARED]
        subprocess.run(command, stdout=sys.stderr, check=True)
        ready.touch()
    return python


def checkpoint(arguments: argparse.Namespace) -> Path:
    """Return the weights that both packages load."""
    from mobilesam import weights

    return arguments.checkpoint or weights.ensure()


def environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a process that uses so many threads and imports this checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
