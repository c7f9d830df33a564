"""The options that ``serve`` and ``webui`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilesam.model import MaskModel
    from mobilesam.serve.models import Models

ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        help="A weights name, a checkpoint, or a folder of ONNX files; repeat it to offer a choice. "
        "Default: MobileSAM, fetched on first use.",
    ),
]
HostOption = Annotated[
    str, typer.Option("--host", help="Address to listen on; 0.0.0.0 accepts connections from other machines.")
]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 chooses a free one.")]
AllowHostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        envvar="MOBILESAM_ALLOW_HOST",
        help="A host name under which clients may reach the server, such as that of a proxy; repeatable.",
    ),
]
MaxUploadOption = Annotated[int, typer.Option("--max-upload-mb", min=1, help="Largest image file, in MB.")]
MaxPixelsOption = Annotated[int, typer.Option("--max-pixels", min=1, help="Largest number of pixels of an image.")]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", min=1, help="Images encoded or segmented at the same time.")
]
CacheOption = Annotated[
    int, typer.Option("--cache-mb", min=1, help="Memory for images, embeddings and sessions, in MB.")
]


def offered_models(
    names: Sequence[str], backend: options.Backend, device: options.Device, threads: int | None
) -> Models:
    """Return the models that a server offers, the first of which is loaded."""
    from mobilesam.cli.model import load_model
    from mobilesam.serve.models import choices

    def load(name: str | None, runtime: str) -> MaskModel:
        return load_model(name, options.Backend(runtime), device, threads)

    models = choices(names, backend.value, device.value, load)
    typer.echo("loading the model ...", err=True)
    models.get(models.default)
    return models
