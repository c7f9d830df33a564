"""``mobilesam embed``: encode images once, for ``predict`` and the web page."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.cli.batch import InputArgument, WorkersOption, WorkerThreadsOption, progress_bar, split_cores, tell_bad
from mobilesam.cli.model import ModelOptions, with_model_options


@with_model_options
def embed(
    inputs: InputArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the embeddings; made if absent.")],
    fast_padding: options.FastPaddingOption = False,
    as_json: options.JsonOption = False,
    workers: WorkersOption = None,
    threads: WorkerThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Encode images, and keep their embeddings, 4 MB each.

    mobilesam embed photos --out embeddings

    mobilesam predict photos/cat.jpg --point 320,240 --embeddings embeddings

    mobilesam webui --embeddings embeddings

    An embedding is found by the pixels of its image, whatever it is called, and by the weights and by --fast-padding.
    Those that are there are not made again, so a stopped run goes on when it is started again.

    Bad images are listed at the end and do not stop the run; the exit code is then 1.
    """
    from mobilesam.batch import BadImage, embed_images

    count, share = split_cores(workers, threads, network)
    choice = network.choice(share)
    made: dict[str, str] = {}
    bad: list[BadImage] = []
    with progress_bar("the same command") as (progress, warn):
        answers = embed_images(
            inputs,
            out,
            model=choice,
            fast_padding=fast_padding,
            workers=count,
            progress=progress,
            on_warning=warn,
        )
        with contextlib.closing(answers):
            for source, answer in answers:
                if isinstance(answer, Path):
                    made[source] = str(answer)
                else:
                    bad.append(BadImage(source, answer))
    if as_json:
        errors = [{"image": each.source, "error": each.reason} for each in bad]
        typer.echo(json.dumps({"version": 1, "embeddings": made, "errors": errors}, indent=2))
    else:
        for path in made.values():
            typer.echo(os.fsencode(path))
    tell_bad(len(made), bad)
