"""Run a program of others with the reference and with mobilesam, and compare the masks that it gives."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.clients import substitute

_FEW_PIXELS = 2  # of a mask, whose logits are within rounding of the threshold
Masks = dict[str, np.ndarray]


def compare(module: str, run: Callable[..., Masks]) -> None:
    """Run a module in two processes and print how many pixels of each mask differ; fail if there are more than two.

    Args:
        module: its full name. It calls this function when it is run, with the arguments of its command line.
        run: returns masks, or label maps, by name. It is called with the arguments in either process.
    """
    package, out = os.environ.get("CLIENT_PACKAGE"), os.environ.get("CLIENT_OUT")
    if package and out:
        warnings.simplefilter("ignore")
        substitute.install(package)
        np.savez(out, **run(*sys.argv[1:]))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for name in ("mobile_sam", "mobilesam"):
            path = Path(folder) / f"{name}.npz"
            environment = {**os.environ, "CLIENT_PACKAGE": name, "CLIENT_OUT": str(path)}
            command = [sys.executable, "-W", "ignore", "-m", module, *sys.argv[1:]]
            subprocess.run(command, check=True, env=environment)
            results.append(np.load(path))
        reference, ours = results
        apart = {name: int((reference[name] != ours[name]).sum()) for name in reference.files}
    for name, count in apart.items():
        is_mask = reference[name].dtype == bool
        size = f"{reference[name].sum()} pixels" if is_mask else f"{len(np.unique(reference[name])) - 1} masks"
        print(f"{name}: {size}, {count} pixels differ")
    if max(apart.values()) > _FEW_PIXELS:
        raise SystemExit("Some masks differ.")
