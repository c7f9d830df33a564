"""``mobilesam webui``: serve the browser page on this machine."""

from __future__ import annotations

import enum
import importlib.util
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options
from mobilesam.errors import missing_dependency, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mobilesam.model import MaskModel
    from mobilesam.webui.decoders import Make


class DecodingPlace(enum.StrEnum):
    """Where masks are decoded."""

    tab = "tab"
    server = "server"


def webui(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME|PATH",
            help="A weights name, a checkpoint, or a folder of ONNX files; repeat it to offer a choice. "
            "Default: MobileSAM, fetched on first use.",
        ),
    ] = None,
    backend: options.BackendOption = options.Backend.auto,
    device: options.DeviceOption = options.Device.auto,
    threads: options.ThreadsOption = None,
    embeddings: options.EmbeddingsOption = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 accepts connections from other machines.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 chooses a free one.")] = 7860,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            envvar="MOBILESAM_ALLOW_HOST",
            help="A host name under which browsers may open the page, such as that of a proxy; repeatable.",
        ),
    ] = None,
    auth: Annotated[
        str | None, typer.Option("--auth", metavar="NAME:PASSWORD", envvar="MOBILESAM_AUTH", help="Require a login.")
    ] = None,
    decode: Annotated[
        DecodingPlace,
        typer.Option("--decode", help="Where masks are decoded: in browser tabs that can, or all on this server."),
    ] = DecodingPlace.tab,
    max_upload_mb: Annotated[int, typer.Option("--max-upload-mb", min=1, help="Largest image file, in MB.")] = 50,
    max_pixels: Annotated[int, typer.Option("--max-pixels", min=1, help="Largest number of pixels of an image.")] = (
        50_000_000
    ),
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Images encoded or segmented at the same time.")
    ] = 2,
    cache_mb: Annotated[
        int, typer.Option("--cache-mb", min=1, help="Memory for images, embeddings and sessions, in MB.")
    ] = 512,
) -> None:
    """Serve a page on which images are segmented with clicks and boxes.

    mobilesam webui --model mobile_sam --model my-int8-export

    By default it accepts connections from this machine only. It sends no requests to other servers.
    """
    if not importlib.util.find_spec("gradio"):
        raise missing_dependency("gradio", "webui", "the web page")
    login = _login(auth)
    from mobilesam.cli.model import load_model
    from mobilesam.embedding import with_embeddings
    from mobilesam.webui import serve
    from mobilesam.webui.decoders import Decoders
    from mobilesam.webui.models import choices
    from mobilesam.webui.service import Limits, Service

    def load(name: str | None, runtime: str) -> MaskModel:
        return with_embeddings(load_model(name, options.Backend(runtime), device, threads), embeddings)

    address = serve.Address(host, port, login, tuple(allow_host or ()))
    models = choices(model or [], backend.value, device.value, load)
    limits = Limits(concurrency=concurrency, cache_mb=cache_mb, max_upload_mb=max_upload_mb, max_pixels=max_pixels)
    decoders = Decoders(models, _decoder_maker() if decode is DecodingPlace.tab else None)
    typer.echo("loading the model ...", err=True)
    models.get(models.default)
    serve.serve(
        Service(models, limits), decoders, address, lambda url: typer.echo(f"open {url}  (Ctrl-C stops it)", err=True)
    )


def _decoder_maker() -> Make | None:
    """Return what makes the files of a decoder for browsers, or None if ONNX Runtime for browsers was not fetched."""
    from mobilesam.export import site_runtime

    runtime = site_runtime.find()
    if runtime is None:
        remedy = "to decode them in the browser, run mobilesam site --runtime-only first"
        typer.echo(f"masks are decoded on this server; {remedy}", err=True)
        return None

    def make(model: str | None) -> Mapping[str, bytes]:
        from mobilesam.export.decoder_files import decoder_files

        files: Mapping[str, bytes] = decoder_files(model, runtime)
        return files

    return make


def _login(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise options.UsageError(sentence("--auth", "be NAME:PASSWORD", "another form", "write for example ann:secret"))
    return name, password
