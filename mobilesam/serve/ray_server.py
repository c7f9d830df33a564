"""Running the application of :mod:`mobilesam.serve.replicas` on this machine, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict

from mobilesam.cores import usable_cores
from mobilesam.errors import InputError, sentence
from mobilesam.serve.replicas import NAME, Settings, build
from mobilesam.serve.server import Address, listen

_LOGGERS = ("ray", "ray.serve")
_CONNECT = 10.0  # seconds


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
    ended = threading.Event()
    with _quiet():
        if cluster is not None:
            _connect(cluster)
            on_ready(_deploy(settings, port))
            return
        with listen(Address(settings.host, port)) as listener:  # to find out whether it is free
            port = listener.getsockname()[1]
        with _running(settings), _ends(ended):  # in this order: Ray replaces the handlers of signals
            on_ready(_deploy(settings, port))
            ended.wait()


def _connect(cluster: str) -> None:
    import ray

    try:
        host, _, port = cluster.rpartition("//")[2].partition(":")
        if port:  # Ray tries for minutes
            socket.create_connection((host, int(port)), _CONNECT).close()
        ray.init(cluster, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        actual = f"{cluster} ({str(error).partition(chr(10))[0][:200]})"
        remedy = 'start one with ray start --head, and name it or "auto"'
        raise InputError(sentence("--ray-address", "be a cluster that runs", actual, remedy)) from error


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[None]:
    """Run Ray on this machine during a block."""
    import ray
    from ray import serve

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else Ray sends a report to its makers
    processes = settings.replicas + (settings.encoders or settings.replicas)
    cores = max(usable_cores(), processes)  # Ray starts no more processes than there are cores
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call, unused-ignore]
        ray.shutdown()  # type: ignore[no-untyped-call, unused-ignore]


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
