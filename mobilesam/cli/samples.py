"""``mobilesam samples``: write the photos that the documentation's examples use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options


def samples(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; made if absent.")],
    force: options.ForceOption = False,
) -> None:
    """Write four sample photos, a prompt file and annotations: what the examples of the documentation use.

    mobilesam samples photos

    mobilesam predict photos/cat.jpg --point 230,130
    """
    from mobilesam.samples import write_samples

    for path in write_samples(folder, force=force):
        typer.echo(path)
