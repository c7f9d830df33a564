"""``mobilesam serve``: serve masks to the programs of a team, over HTTP."""

from __future__ import annotations

import enum
import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options, server_options
from mobilesam.errors import InputError, missing_dependency, sentence

KEYS = "MOBILESAM_API_KEYS"


class Engine(enum.StrEnum):
    local = "local"
    ray = "ray"


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
            "added. Replicas need one.",
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
    engine: Annotated[
        Engine, typer.Option("--engine", help="local: this process; ray: replicas on Ray Serve.")
    ] = Engine.local,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="ADDRESS",
            help="Address of a Ray cluster, or auto. The command then starts the server, or replaces the processes of "
            "a running one without a pause, and ends.",
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option("--replicas", min=1, help="Processes that serve requests, with --engine ray. Default: 1."),
    ] = None,
    encoders: Annotated[
        int | None,
        typer.Option("--encoders", min=1, help="Processes that encode images, with --engine ray. Default: --replicas."),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option("--gpus", min=0, help="GPUs of each encoder, with --engine ray; 0.5 lets two encoders share one."),
    ] = None,
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
    from mobilesam.serve.access import check_keys, read_keys
    from mobilesam.serve.engine import Limits
    from mobilesam.serve.server import Address

    for_ray = {"--ray-address": ray_address, "--replicas": replicas, "--encoders": encoders, "--gpus": gpus}
    for option, value in for_ray.items():
        if value is not None and engine is Engine.local:
            raise options.UsageError(sentence(option, "be used with --engine ray", engine.value, "add --engine ray"))
    keys = read_keys(api_keys)
    try:
        check_keys(keys, host)
    except InputError as error:
        raise options.UsageError(str(error)) from error
    address = Address(host, port, None, tuple(allow_host or ()))
    limits = Limits(concurrency=concurrency, cache_mb=cache_mb, max_upload_mb=max_upload_mb, max_pixels=max_pixels)

    def on_ready(url: str) -> None:
        typer.echo(f"serving on {url}" + ("" if ray_address else "  (Ctrl-C stops it)"), err=True)

    if engine is Engine.local:
        from mobilesam.embedding import open_embeddings
        from mobilesam.serve import engine as engines
        from mobilesam.serve import rest

        folder = open_embeddings(embeddings, create=True)
        models = server_options.offered_models(model or [], backend, device, threads)
        rest.serve(engines.Engine(models, limits, folder), address, keys, rate, on_ready)
        return
    from mobilesam.serve import ray_server
    from mobilesam.serve import replicas as ray_replicas

    ray_replicas.require_ray_serve(ray_address)
    # To fetch the weights, and to find mistakes before Ray starts; the GPUs may be elsewhere.
    server_options.offered_models(model or [], backend, options.Device.cpu if gpus else device, threads)
    values = {
        "embeddings": embeddings,
        "models": model or [],
        "backend": backend.value,
        "device": device.value,
        "threads": threads or 1,
        "host": host,
        "allow_host": allow_host or [],
        "api_keys": keys,
        "rate": rate,
        "replicas": replicas or 1,
        "encoders": encoders or 0,
        "gpus": gpus or 0.0,
        "limits": asdict(limits),
    }
    typer.echo("starting the processes ...", err=True)
    ray_server.serve(ray_replicas.Settings.of(values), address.port, ray_address, on_ready)
