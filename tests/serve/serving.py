"""A server during a block, whose log must have no traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from benchmarks.serve_process import ServeProcess
from tests.cores import on_all_cores


@contextlib.contextmanager
def serving(*options: str, environment: dict[str, str] | None = None) -> Iterator[ServeProcess]:
    """Serve during a block."""
    with on_all_cores():
        server = ServeProcess(*options, environment=environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            assert server.stop() == 0
    assert "Traceback" not in "".join(server.log)
