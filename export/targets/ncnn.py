"""Conversion to ncnn with pnnx: TinyViT and the decoder as .param and .bin files."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from mobilesam.errors import ExportError, missing_dependency
from mobilesam.export.fixed_modules import Named
from mobilesam.export.targets import LARGEST_RANK, Files, Operators, Target
from mobilesam.export.targets.traced import trace
from mobilesam.runtimes.ncnn import open_run

_PARAM, _BIN = ".param", ".bin"


def require() -> None:
    """Raise MissingDependencyError if the converter or the runtime is not installed."""
    for package in ("pnnx", "ncnn"):
        try:
            __import__(package)
        except ImportError as error:
            raise missing_dependency(package, "ncnn", "mobilesam export --to ncnn") from error


def convert(module: Named, precision: str) -> Files:
    """Return the operators and the weights of a module; its blobs are in0, in1 ... and out0, out1 ..., by their places.

    Args:
        precision: of the weights.

    Raises:
        ExportError: the converter failed, or left operators that ncnn does not have.
    """
    import pnnx

    shapes = ",".join(f"[{','.join(map(str, value.shape))}]" for value in module.samples().values())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        trace(module).save(str(path))
        options = [f"inputshape={shapes}", f"fp16={int(precision == 'float16')}"]
        command = [pnnx.EXEC_PATH, str(path), *options]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        made = {suffix: path.with_suffix(f".ncnn{suffix}") for suffix in (_PARAM, _BIN)}
        if done.returncode or not all(file.is_file() for file in made.values()):
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ExportError(f"pnnx failed to convert {module.graph.role!r}: {last}. Install another release of pnnx.")
        files = {suffix: file.read_bytes() for suffix, file in made.items()}
    if unknown := sorted(name for name in operators(files).counts if "." in name or ":" in name):
        raise ExportError(
            f"ncnn has no {', '.join(unknown)}, which {module.graph.role!r} needs. Install another release of pnnx."
        )
    return files


def operators(files: Files) -> Operators:
    """Return what the files are made of; ncnn has no tensors of a larger rank."""
    lines = files[_PARAM].decode().splitlines()[2:]
    return Operators(dict(sorted(Counter(line.split()[0] for line in lines).items())), LARGEST_RANK)


TARGET = Target(
    require,
    convert,
    operators,
    open_run=open_run,
    suffixes=(_PARAM, _BIN),
    precisions=("float32", "float16"),
    roles=("encoder", "decoder"),
)
