"""``mobilesam embed``: encode images in advance, for ``predict`` and the web page."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.cli.batch import InputArgument, WorkersOption, WorkerThreadsOption, progress_bar, split_cores, tell_bad
from mobilesam.cli.model import ModelOptions, with_model_options


@with_model_options
def embed(
    inputs: InputArgument,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Folder or URL for the embeddings, created if needed.")
    ],
    fast_padding: options.FastPaddingOption = False,
    as_json: options.JsonOption = False,
    workers: WorkersOption = None,
    threads: WorkerThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Encode images, and save their embeddings, 4 MB each.

    mobilesam embed photos --out embeddings

    mobilesam predict photos/cat.jpg --point 320,240 --embeddings embeddings

    mobilesam webui --embeddings embeddings

    An embedding is found by the pixels of its image, not its file name, and by the weights and --fast-padding. Existing
    embeddings are not computed again, so the same command continues a stopped run.

    Bad images do not stop the run. They are listed at the end, and the exit code is 1.
    """
    from mobilesam.batch import BadImage, embed_images
    from mobilesam.storage import place

    count, share = split_cores(workers, threads, network)
    model = network.choice(share)
    saved: dict[str, str] = {}
    bad: list[BadImage] = []
    with progress_bar("the same command") as (progress, on_warning):
        results = embed_images(
            inputs,
            place(out),
            model=model,
            fast_padding=fast_padding,
            workers=count,
            progress=progress,
            on_warning=on_warning,
        )
        with contextlib.closing(results):
            for source, result in results:
                if isinstance(result, BadImage):
                    bad.append(result)
                else:
                    saved[source] = str(result)
    if as_json:
        errors = [{"image": each.source, "error": each.reason} for each in bad]
        typer.echo(json.dumps({"version": 1, "embeddings": saved, "errors": errors}, indent=2))
    else:
        for path in saved.values():
            typer.echo(os.fsencode(path))
    tell_bad(len(saved), bad)
