"""Metrics of a server in the format of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.serve.engine import Engine

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The numbers of requests and their times, the queues, and the caches."""

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "status")
        self.requests = Counter(
            "mobilesam_requests", "Requests by route and HTTP status.", labels, registry=self._registry
        )
        self.seconds = Histogram(
            "mobilesam_request_seconds",
            "Time from a request to its response.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Engine(engine))

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)


class _Engine(Collector):
    """What an engine has in its queues and caches at the time of a request for the metrics."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        queues = GaugeMetricFamily("mobilesam_queue_jobs", "Jobs that are queued or running.", labels=("queue",))
        for name in ("encoders", "decoders", "full_size"):
            queues.add_metric((name,), getattr(self._engine, name).busy())
        yield queues
        caches = GaugeMetricFamily("mobilesam_cache_bytes", "Bytes in memory.", labels=("cache",))
        for name in ("images", "embeddings", "feedback"):
            caches.add_metric((name,), getattr(self._engine, name).used)
        yield caches


class Measured:
    """ASGI middleware that counts requests; one without a route counts as "none"."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.requests.labels(route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, send_counted)
