"""Print pip constraints: the lowest version that pyproject.toml allows of each package that the tests need.

``make test-minimum`` installs these, without PyTorch.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
_REQUIREMENT = re.compile(r"(?P<name>[\w-]+)(\[[\w,-]+\])?>=(?P<version>[\d.]+)")


def constraints() -> list[str]:
    """Return one line a package; ``numpy>=1.26`` becomes ``numpy==1.26.*``."""
    with PROJECT.open("rb") as file:
        settings = tomllib.load(file)
    lines = []
    for requirement in [*settings["project"]["dependencies"], *settings["dependency-groups"]["tests"]]:
        match = _REQUIREMENT.match(requirement)
        assert match, f"{requirement} names no lowest version"
        release = match["version"]
        lines.append(f"{match['name']}=={release}" if release.count(".") == 2 else f"{match['name']}=={release}.*")
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints()) + "\n")
