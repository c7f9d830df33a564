"""Ray on this machine for the time of a block, or the connection to a cluster."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from typing import Any

from mobilesam.cores import usable_cores
from mobilesam.errors import InputError, missing_dependency, sentence

_CONNECT = 10.0  # seconds
_QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}


def require(*modules: str, address: str | None = None) -> None:
    """Import modules of Ray, for ``--engine ray``, and prepare for running it on this machine.

    Ray runs the code of everyone who reaches its ports, which are open to other machines. So it gets a secret token,
    unless the environment has settings of its own, or the program has imported Ray before. It sends no reports on its
    use to its makers.

    Args:
        modules: their names.
        address: of the cluster that will be used, whose token is that of the environment; None for this machine.

    Raises:
        MissingDependencyError: one is not installed.
    """
    if address is None and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # By default, Ray Serve ends a proxy that needs more than 5 s to start, which happens on a busy machine.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        raise missing_dependency("ray", "ray", "--engine ray") from error


@contextlib.contextmanager
def running(address: str | None, cores: int) -> Iterator[None]:
    """Use Ray during a block: that of this process, if it has one; a cluster; or one that is started here.

    Args:
        address: of a cluster, or "auto"; None starts Ray on this machine.
        cores: at least so many are promised to Ray's processes where it is started.

    Raises:
        InputError: there is no cluster at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    if address is not None:
        _connect(address)
    else:
        ray.init("local", num_cpus=max(usable_cores(), cores), **_QUIET)
    try:
        yield
    finally:
        ray.shutdown()  # type: ignore[no-untyped-call, unused-ignore]


def _connect(address: str) -> None:
    import ray
    from ray.exceptions import RayError

    try:
        host, _, port = address.rpartition("//")[2].partition(":")
        if port:  # Ray tries for minutes
            socket.create_connection((host, int(port)), _CONNECT).close()
        ray.init(address, **_QUIET)
    except (OSError, OverflowError, RuntimeError, ValueError, RayError) as error:
        actual = f"{address} ({(str(error).splitlines() or [''])[0][:200]})"
        remedy = 'start one with ray start --head, and name it or "auto"'
        raise InputError(sentence("--ray-address", "be a cluster that runs", actual, remedy)) from error
