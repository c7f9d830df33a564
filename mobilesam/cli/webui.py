"""``mobilesam webui``: serve the browser page on this machine."""

from __future__ import annotations

import enum
import importlib.util
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options, server_options
from mobilesam.errors import missing_dependency, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mobilesam.webui.decoders import Make


class DecodingPlace(enum.StrEnum):
    """Where masks are decoded."""

    tab = "tab"
    server = "server"


def webui(
    model: server_options.ModelsOption = None,
    backend: options.BackendOption = options.Backend.auto,
    device: options.DeviceOption = options.Device.auto,
    threads: options.ThreadsOption = None,
    embeddings: options.EmbeddingsOption = None,
    host: server_options.HostOption = "127.0.0.1",
    port: server_options.PortOption = 7860,
    allow_host: server_options.AllowHostOption = None,
    auth: Annotated[
        str | None, typer.Option("--auth", metavar="NAME:PASSWORD", envvar="MOBILESAM_AUTH", help="Require a login.")
    ] = None,
    decode: Annotated[
        DecodingPlace,
        typer.Option("--decode", help="Where masks are decoded: in browser tabs that can, or all on this server."),
    ] = DecodingPlace.tab,
    max_upload_mb: server_options.MaxUploadOption = 50,
    max_pixels: server_options.MaxPixelsOption = 50_000_000,
    concurrency: server_options.ConcurrencyOption = 2,
    cache_mb: server_options.CacheOption = 512,
) -> None:
    """Serve a page on which images are segmented with clicks and boxes.

    mobilesam webui --model mobile_sam --model my-int8-export

    By default it accepts connections from this machine only. It sends no requests to other servers.
    """
    if not importlib.util.find_spec("gradio"):
        raise missing_dependency("gradio", "webui", "the web page")
    login = _login(auth)
    from mobilesam.embedding import open_embeddings
    from mobilesam.serve.engine import Limits
    from mobilesam.serve.server import Address
    from mobilesam.webui import serve
    from mobilesam.webui.decoders import Decoders
    from mobilesam.webui.service import Service

    folder = open_embeddings(embeddings)
    address = Address(host, port, login, tuple(allow_host or ()))
    limits = Limits(concurrency=concurrency, cache_mb=cache_mb, max_upload_mb=max_upload_mb, max_pixels=max_pixels)
    models = server_options.offered_models(model or [], backend, device, threads)
    decoders = Decoders(models, _decoder_maker() if decode is DecodingPlace.tab else None)
    service = Service(models, limits, folder)
    serve.serve(service, decoders, address, lambda url: typer.echo(f"open {url}  (Ctrl-C stops it)", err=True))


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
