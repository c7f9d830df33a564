"""A server for all tests of a file, and what it must give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serve_process import ServeProcess
from tests.serve.serving import serving


@pytest.fixture(scope="module")
def server() -> Iterator[ServeProcess]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def cat(photo: Any) -> Path:
    return Path(photo("chelsea.png"))
