"""Running the application of :mod:`mobilesam.serve.replicas` on this machine, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from mobilesam.cluster import running
from mobilesam.embedding import open_embeddings
from mobilesam.errors import InputError, sentence
from mobilesam.serve.replicas import NAME, Settings, build
from mobilesam.serve.server import Address, listen

_LOGGERS = ("ray", "ray.serve")
_LOOK = 5.0  # seconds between two looks at Ray
_STARTING = 300.0  # seconds for Ray Serve to start


def serve(settings: Settings, port: int, cluster: str | None, on_ready: Callable[[str], object]) -> None:
    """Serve until the process gets SIGINT or SIGTERM; on a cluster, start or update the application and return.

    Args:
        settings: of the application.
        port: of Ray's proxies; 0 takes a free one.
        cluster: the address of a Ray cluster. None starts Ray on this machine.
        on_ready: called with the URL when the server accepts requests.

    Raises:
        InputError: the address cannot be used, there is no such cluster, or it cannot run the application.
    """
    from ray import serve as ray_serve

    open_embeddings(settings.embeddings, create=True)
    if cluster is None:
        with listen(Address(settings.host, port)) as listener:  # to find out whether it is free
            host, port = listener.getsockname()[:2]
        settings = replace(settings, host=host)
    elif not port:
        raise InputError(sentence("--port", "be a port of the cluster", "0", "name one"))
    settings = settings.absolute()
    cores = settings.threads * (settings.replicas + settings.encoder_count)
    with _quiet(), running(cluster, cores):
        _check_resources(cores, settings.gpus * settings.encoder_count)
        if cluster is not None:
            on_ready(_deploy(settings, port))
            return
        try:
            on_ready(_deploy(settings, port))
            _wait()
        finally:
            with contextlib.redirect_stdout(io.StringIO()):  # where Ray reports the processes that it ends
                ray_serve.shutdown()  # type: ignore[no-untyped-call, unused-ignore]


def _check_resources(cores: float, gpus: float) -> None:
    """Raise InputError if Ray would wait forever for cores or GPUs."""
    import ray

    there = ray.cluster_resources()  # type: ignore[no-untyped-call, unused-ignore]
    for name, wanted in (("CPU", cores), ("GPU", gpus)):
        if wanted > there.get(name, 0):
            remedy = "start fewer processes, or a larger cluster"
            needed = f"have a {name} for all processes, {wanted:g} in all"
            raise InputError(sentence("Ray", needed, f"{there.get(name, 0):g}", remedy))


def _deploy(settings: Settings, port: int) -> str:
    """Start the application, or replace the processes of a running one, and return its URL."""
    from ray import serve
    from ray.serve.context import _get_global_client

    options = {"host": settings.host, "port": port}
    _patiently(lambda: serve.start(proxy_location="EveryNode", http_options=options))
    client = _get_global_client()
    assert client is not None
    actual = client.http_config  # of a Ray Serve that ran before, whose options stay
    if (actual.host, actual.port) != (settings.host, port):
        remedy = 'use them, or end what runs on the cluster with "serve shutdown"'
        wanted = f"be those of Ray Serve on the cluster, {actual.host}:{actual.port}"
        raise InputError(sentence("--host and --port", wanted, f"{settings.host}:{port}", remedy))
    try:
        _patiently(lambda: serve.run(build(asdict(settings)), name=NAME, route_prefix="/"))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1][:300] if lines else type(error).__name__
        raise InputError(f"Ray could not start the server: {reason}. Its logs have the details.") from error
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def _patiently(start: Callable[[], object]) -> None:
    """Start something again where Ray gave up on its own processes, which start slowly on a busy machine."""
    from ray.exceptions import RayActorError

    end = time.monotonic() + _STARTING
    while True:
        try:
            start()
            return
        except (TimeoutError, RayActorError) as error:  # others do not pass with time
            if time.monotonic() > end:
                reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
                raise InputError(f"Ray did not start the server in {_STARTING:g} s: {reason}") from error
            time.sleep(1)


def _wait() -> None:
    """Wait for SIGINT or SIGTERM.

    Raises:
        InputError: Ray has ended.
    """
    import ray

    ended = threading.Event()
    with _ends(ended):
        while not ended.wait(_LOOK):
            try:
                alive = any(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call, unused-ignore]
            except (ray.exceptions.RayError, RuntimeError):
                alive = False
            if not alive:
                raise InputError("Ray has ended, and the server with it. Start the server again.")


@contextlib.contextmanager
def _ends(ended: threading.Event) -> Iterator[None]:
    """Set an event at SIGINT and SIGTERM during a block."""
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray log errors only."""
    levels = [(logger, logger.level) for logger in map(logging.getLogger, _LOGGERS)]
    for logger, _ in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
