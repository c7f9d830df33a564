"""Worker processes, as the comparing scripts see them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Self

from benchmarks.packages import OURS_ONNX
from benchmarks.reference import ROOT, environment


class Process:
    """A worker with a package loaded; use it in a ``with`` statement."""

    def __init__(self, python: Path, package: str, weights: Path, threads: int) -> None:
        self.package = package
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(threads),
        )
        self.load = self.ask("load", package=package, weights=str(weights.resolve()), threads=threads)

    def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Run a task and return its "seconds", the process's "peak_bytes", and whether "torch" is imported there."""
        self._process.stdin.write(json.dumps({"do": task, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the worker of {self.package} ended with code {self._process.wait()}")
        found = json.loads(answer)
        if found["torch"] and self.package == OURS_ONNX:
            raise SystemExit(f"the worker of {self.package} imported torch")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def versions(python: Path, packages: list[str]) -> dict[str, str | None]:
    """Return the installed versions of packages in an interpreter."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({name: found.get(name) for name in sys.argv[1:]}))"
    )
    result = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True)
    return json.loads(result.stdout)
