"""Progress bar of a download, on stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mobilesam.weights.download import Progress


@contextlib.contextmanager
def download_bar(subject: str = "the weights") -> Iterator[Progress]:
    """Yield a callable for ``progress=`` of :mod:`mobilesam.weights.store`.

    It draws a bar for each file on a terminal, and otherwise writes a line for each file.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Progress(*columns, console=console, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            if not tasks:
                bars.start()
            if not console.is_terminal:
                console.print(f"fetching {subject}: {what}", highlight=False, soft_wrap=True)
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    try:
        yield report
    finally:
        bars.stop()
