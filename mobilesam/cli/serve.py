"""``mobilesam serve``: serve masks to the programs of a team, over HTTP."""

from __future__ import annotations

import importlib.util
import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options, server_options
from mobilesam.errors import missing_dependency, sentence

KEYS = "MOBILESAM_API_KEYS"


def serve(
    model: server_options.ModelsOption = None,
    backend: options.BackendOption = options.Backend.auto,
    device: options.DeviceOption = options.Device.auto,
    threads: options.ThreadsOption = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            "--embeddings",
            metavar="DIR",
            help="Folder or URL of embeddings, created if needed: those of mobilesam embed are used, and new ones are "
            "added.",
        ),
    ] = None,
    host: server_options.HostOption = "127.0.0.1",
    port: server_options.PortOption = 8080,
    allow_host: server_options.AllowHostOption = None,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            "--api-keys",
            metavar="FILE",
            help="File of API keys, one a line, of which a client needs one. "
            f"The environment variable {KEYS} adds keys, separated by commas.",
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", min=0.1, help="Requests a second of each client, on average.")
    ] = 50.0,
    max_upload_mb: server_options.MaxUploadOption = 50,
    max_pixels: server_options.MaxPixelsOption = 50_000_000,
    concurrency: server_options.ConcurrencyOption = 2,
    cache_mb: server_options.CacheOption = 1024,
) -> None:
    """Serve masks over HTTP, to annotation tools and programs of a team.

    mobilesam embed photos --out embeddings

    mobilesam serve --embeddings embeddings

    curl --data-binary @photos/cat.jpg http://127.0.0.1:8080/v1/images

    The requests and responses are described in /openapi.json. Without API keys, only this machine is served. TLS is
    left to a proxy. It sends no requests to other servers.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client", "multipart"):
        if not importlib.util.find_spec(package):
            raise missing_dependency(package, "serve", "the server")
    from mobilesam.embedding import open_embeddings
    from mobilesam.serve import rest
    from mobilesam.serve.access import read_keys
    from mobilesam.serve.engine import Engine, Limits
    from mobilesam.serve.server import Address

    keys = read_keys(api_keys, KEYS)
    if not keys and not _is_loopback(host):
        remedy = f"add --api-keys FILE, set {KEYS}, or leave --host out"
        raise options.UsageError(sentence("--host", "be 127.0.0.1 without API keys", host, remedy))
    address = Address(host, port, None, tuple(allow_host or ()))
    folder = open_embeddings(embeddings, create=True)
    limits = Limits(concurrency=concurrency, cache_mb=cache_mb, max_upload_mb=max_upload_mb, max_pixels=max_pixels)
    models = server_options.offered_models(model or [], backend, device, threads)
    engine = Engine(models, limits, folder)
    rest.serve(engine, address, keys, rate, lambda url: typer.echo(f"serving on {url}  (Ctrl-C stops it)", err=True))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
