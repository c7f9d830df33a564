"""The REST server: :mod:`mobilesam.serve.app` on an address, until a signal ends it."""

from __future__ import annotations

from collections.abc import Callable

from mobilesam.serve.app import ServeRules, build_app
from mobilesam.serve.bodies import BodyStore
from mobilesam.serve.engine import Engine
from mobilesam.serve.guard import Hosts
from mobilesam.serve.jobs import Jobs
from mobilesam.serve.server import Address, listen, run


def serve(
    engine: Engine, address: Address, keys: tuple[str, ...], rate: float, on_ready: Callable[[str], object]
) -> None:
    """Serve until the process gets SIGINT or SIGTERM; see :func:`mobilesam.serve.app.build_app`.

    Work that runs then is finished; requests that wait in a queue get the status 503.

    Args:
        on_ready: called with the URL when the server accepts requests.

    Raises:
        InputError: the address cannot be used.
    """
    with listen(address) as listener:
        jobs, store = Jobs(engine), BodyStore(ServeRules(engine.limits.max_upload_mb))
        hosts = Hosts.of(listener.getsockname()[0], address.allowed_hosts)

        def stop_work() -> None:
            store.close()
            jobs.close()
            engine.close(wait=False)

        try:
            run(build_app(engine, jobs, store, hosts=hosts, keys=keys, rate=rate), listener, on_ready, stop_work)
        finally:
            stop_work()
            engine.close()
