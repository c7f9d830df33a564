"""Running the application of :mod:`mobilesam.serve.replicas` on this machine, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict

from mobilesam.cluster import running
from mobilesam.embedding import open_embeddings
from mobilesam.errors import InputError
from mobilesam.serve.replicas import NAME, Settings, build
from mobilesam.serve.server import Address, listen

_LOGGERS = ("ray", "ray.serve")


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
    settings = settings.absolute()
    processes = settings.replicas + (settings.encoders or settings.replicas)
    if cluster is None:
        with listen(Address(settings.host, port)) as listener:  # to find out whether it is free
            port = listener.getsockname()[1]
    ended = threading.Event()
    with _quiet(), running(cluster, processes), _ends(ended):  # in this order: Ray replaces the handlers of signals
        try:
            on_ready(_deploy(settings, port))
            if cluster is None:
                ended.wait()
        finally:
            if cluster is None:
                with contextlib.redirect_stdout(io.StringIO()):  # where Ray reports the processes that it ends
                    ray_serve.shutdown()  # type: ignore[no-untyped-call, unused-ignore]


def _deploy(settings: Settings, port: int) -> str:
    """Start the application, or replace the processes of a running one, and return its URL."""
    from ray import serve

    serve.start(proxy_location="EveryNode", http_options={"host": settings.host, "port": port})
    try:
        serve.run(build(asdict(settings)), name=NAME, route_prefix="/")
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        actual = lines[-1][:300] if lines else type(error).__name__
        raise InputError(f"Ray could not start the server: {actual}. Its logs have the details.") from error
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


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
