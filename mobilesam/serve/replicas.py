"""The application in replicas on Ray Serve, with encoders that are scaled apart: ``mobilesam serve --engine ray``.

A replica has the whole application, and decodes prompts with the embeddings that it holds. The encoders, the folder of
embeddings and the board of jobs are shared, so that any replica serves any client. Ray's proxies send a request whose
header ``Serve-Multiplexed-Model-Id`` is the identifier of an image to a replica that holds the image.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilesam import cluster, loading
from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.embedding import open_embeddings
from mobilesam.errors import InputError, MissingDependencyError, sentence
from mobilesam.files import is_number
from mobilesam.image.read import image_digest
from mobilesam.model import Embedding, MaskModel
from mobilesam.serve.access import check_keys, read_keys
from mobilesam.serve.app import ServeRules, build_app
from mobilesam.serve.bodies import BodyStore
from mobilesam.serve.engine import EMBEDDING_BYTES, Engine, Limits
from mobilesam.serve.failures import RefusedError
from mobilesam.serve.guard import Hosts
from mobilesam.serve.job_board import Board, Heard, Published, SharedJobs
from mobilesam.serve.models import Models, choices
from mobilesam.storage import is_url

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.types import ASGIApp, Receive, Scope, Send

NAME = "mobilesam"
_LOWEST = (2, 60)  # the release of Ray that it was tested with
_GRACE = 20.0  # seconds in which the requests of a replica may end before it is replaced
_ATTEMPTS = 6  # while Ray replaces a process
_TIMEOUT = 120.0  # seconds for a call of another process
_AT_ONCE = 400  # requests that a replica accepts; its queues are shorter
_QUEUED = 64  # requests that a proxy keeps, with their bodies, while all replicas are full or start again

Handle = Any  # ray.serve.handle.DeploymentHandle, whose types are those of no particular class


@dataclass(frozen=True)
class Settings:
    """What the processes of an application share; the options of ``mobilesam serve`` by their names.

    embeddings: folder or URL that all of them reach. threads: of each process, which requests as many cores. replicas:
    processes that serve requests and decode. encoders: processes that encode; 0 for as many. gpus: GPUs of an encoder,
    such as 0.5; the replicas use none. host: the address of Ray's proxies. limits: those of
    :class:`mobilesam.serve.engine.Limits`, for each replica.
    """

    embeddings: str
    models: Sequence[str] = ()
    backend: str = "auto"
    device: str = "auto"
    threads: int = 1
    replicas: int = 1
    encoders: int = 0
    gpus: float = 0.0
    host: str = "0.0.0.0"  # which needs a key
    allow_host: Sequence[str] = ()
    api_keys: Sequence[str] = ()
    rate: float = 50.0
    limits: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Return settings from the ``args`` of a configuration file of Ray Serve.

        Raises:
            InputError: a setting is unknown, or ``embeddings`` is missing.
        """
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(sentence("a setting", f"be one of {', '.join(known)}", repr(name), "correct its name"))
        if not values.get("embeddings"):
            remedy = "name a folder or URL that all machines reach"
            raise InputError(sentence("embeddings", "be given for replicas", "none", remedy))
        for name in ("models", "allow_host", "api_keys"):
            if isinstance(values.get(name, ()), str):
                raise InputError(sentence(name, "be a list", repr(values[name]), "write it as a list"))
        if not isinstance(values.get("limits", {}), Mapping):
            raise InputError(sentence("limits", "be an object", repr(values["limits"]), "write names and numbers"))
        least = {"threads": 1, "replicas": 1, "encoders": 0, "gpus": 0, "rate": 0.1}
        numbers = {name: (values[name], low) for name, low in least.items() if name in values}
        numbers |= {f"limits.{name}": (value, 1) for name, value in values.get("limits", {}).items()}
        for name, (value, low) in numbers.items():
            whole = name not in ("gpus", "rate")
            if not is_number(value) or value < low or (whole and value != int(value)):
                kind = "a whole number" if whole else "a number"
                raise InputError(sentence(name, f"be {kind} of at least {low}", repr(value), "correct it"))
        for name in values.get("limits", {}):
            if name not in (limits := [each.name for each in fields(Limits)]):
                raise InputError(sentence("a limit", f"be one of {', '.join(limits)}", repr(name), "correct its name"))
        return cls(**values)

    @property
    def encoder_count(self) -> int:
        """The number of processes that encode."""
        return self.encoders or self.replicas

    @property
    def encoder_device(self) -> str:
        """The device of the encoders: a GPU where they request one."""
        return "cuda" if self.gpus and self.device == "auto" else self.device

    def absolute(self) -> Settings:
        """Return settings whose files and folders do not depend on the folder of a process."""

        def absolute(name: str) -> str:
            return name if is_url(name) or not Path(name).exists() else str(Path(name).absolute())

        return replace(self, embeddings=absolute(self.embeddings), models=tuple(map(absolute, self.models)))

    def offered_models(self, *, encoder: bool) -> Models:
        """Return the models, loaded on first use, which have the same names in replicas and encoders.

        encoder: whether for an encoder; the replicas of encoders on a GPU decode on the CPU, which takes 20 ms.
        """
        device = self.encoder_device if encoder or not self.gpus else "cpu"

        def load(name: str | None, backend: str) -> MaskModel:
            return loading.load(name, backend, device, self.threads)

        return choices(self.models, self.backend, self.encoder_device, load)


def require_ray_serve(address: str | None) -> None:
    """Raise MissingDependencyError if Ray Serve is not installed or too old; ``address`` is that of the cluster."""
    cluster.require("ray.serve", address=address)
    import ray

    release = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if release < _LOWEST:
        lowest = ".".join(map(str, _LOWEST))
        raise MissingDependencyError(sentence("Ray", f"be {lowest} or newer", ray.__version__, "pip install -U ray"))


def build(values: Mapping[str, Any]) -> Application:
    """Return the application for ``ray.serve.run``, or for the ``import_path`` of a configuration file of Ray Serve.

    Args:
        values: those of :class:`Settings`.

    Raises:
        InputError: a setting cannot be used.
    """
    from ray import serve

    settings = Settings.of(values)
    gpus = {"num_gpus": settings.gpus} if settings.gpus else {}
    log = {"log_level": "WARNING", "enable_access_log": False}

    def deployed(kind: Any, at_once: int, **options: Any) -> Any:
        return serve.deployment(kind, name=kind.__name__, max_ongoing_requests=at_once, logging_config=log, **options)

    cores = {"num_cpus": settings.threads}
    encoders = deployed(Encoder, 1, num_replicas=settings.encoder_count, ray_actor_options=cores | gpus)
    board = deployed(JobBoard, _AT_ONCE, num_replicas=1, ray_actor_options={"num_cpus": 0})
    most = max(1, Limits(**settings.limits).cache_mb * 1_000_000 // EMBEDDING_BYTES // 2)
    replicas = deployed(
        serve.ingress()(_replica(most)),
        _AT_ONCE,
        num_replicas=settings.replicas,
        ray_actor_options=cores,
        max_queued_requests=_QUEUED,
        graceful_shutdown_timeout_s=_GRACE,
    )
    return replicas.bind(asdict(settings), encoders.bind(asdict(settings)), board.bind())  # type: ignore[no-any-return]


class Encoder:
    """A process that encodes images."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        settings = Settings.of(values)
        self._models = settings.offered_models(encoder=True)
        self._models.get(self._models.default)

    def encode(self, name: str, pixels: UInt8Array) -> tuple[FloatArray, tuple[int, int]]:
        """Return the features of an image, (1, 256, 64, 64), and its (height, width) in the model frame."""
        model = self._models.get(name)
        embedding = model.encode(np.array(pixels))  # a copy: what Ray hands over cannot be written to
        return model.dump_features(embedding.features), embedding.input_hw


class JobBoard(Board):
    """The process with the board of the jobs."""


def _replica(most: int) -> type:
    """Return the class of the processes with the application, which hold ``most`` images each."""
    from ray import serve

    class Replica:
        def __init__(self, values: Mapping[str, Any], encoders: Handle, board: Handle) -> None:
            settings = Settings.of(values)
            models = settings.offered_models(encoder=False)
            limits = Limits(**settings.limits)
            waiting = math.ceil(settings.encoder_count / settings.replicas)  # threads that wait for encoders
            limits = replace(limits, concurrency=limits.concurrency + waiting)
            folder = open_embeddings(settings.embeddings, create=True)
            self._engine = Engine(models, limits, folder, _RemoteEncoders(models, encoders).encode)
            models.get(models.default)
            self._jobs = SharedJobs(self._engine, _RemoteBoard(board))
            self._settings = settings

        def __serve_build_asgi_app__(self) -> ASGIApp:
            settings = self._settings
            keys = tuple(settings.api_keys) or read_keys(None)
            check_keys(keys, settings.host)
            hosts = Hosts.of(settings.host, settings.allow_host)
            store = BodyStore(ServeRules(self._engine.limits.max_upload_mb))
            app = build_app(self._engine, self._jobs, store, hosts=hosts, keys=keys, rate=settings.rate)
            return _Held(app, self.hold)

        @serve.multiplexed(max_num_models_per_replica=most)  # type: ignore[untyped-decorator, unused-ignore]
        async def hold(self, image_id: str) -> str:
            """Tell Ray that the image is here."""
            return image_id

    return Replica


class _Held:
    """ASGI middleware that lets Ray know whose images a replica holds."""

    def __init__(self, app: ASGIApp, hold: Callable[[str], Any]) -> None:
        self._app, self._hold = app, hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from ray import serve

        if re.fullmatch(r"[0-9a-f]{64}", image_id := serve.get_multiplexed_model_id()):
            await self._hold(image_id)
        await self._app(scope, receive, send)


class _RemoteEncoders:
    def __init__(self, models: Models, handle: Handle) -> None:
        self._models, self._handle = models, handle

    def encode(self, name: str, pixels: UInt8Array) -> Embedding:
        """Return an embedding, as that of the model."""
        features, input_hw = _called(lambda: self._handle.encode.remote(name, pixels))
        loaded = self._models.get(name).load_features(np.array(features))
        return Embedding(loaded, (pixels.shape[0], pixels.shape[1]), input_hw, image_digest(pixels))


class _RemoteBoard:
    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def publish(self, jobs: Sequence[Published]) -> list[Heard]:
        heard: list[Heard] = _called(lambda: self._handle.publish.remote(list(jobs)))
        return heard

    def view(self, job_id: str, owner: str, *, cancel: bool = False) -> dict[str, Any] | None:
        view: dict[str, Any] | None = _called(lambda: self._handle.view.remote(job_id, owner, cancel=cancel))
        return view


def _called(call: Callable[[], Any]) -> Any:
    """Return the result of a call of another process, which is repeated if that process ends meanwhile.

    Raises:
        RefusedError: no process responds.
    """
    from ray.exceptions import RayError, RayTaskError
    from ray.serve.exceptions import RayServeException

    end = time.monotonic() + _TIMEOUT
    for attempt in range(_ATTEMPTS):
        response = call()
        try:
            return response.result(timeout_s=max(0.0, end - time.monotonic()))
        except RayTaskError as error:
            cause: BaseException = error.cause
            raise cause from error
        except TimeoutError:
            response.cancel()
            break
        except (RayError, RayServeException):
            time.sleep(0.1 * 2**attempt)
    raise RefusedError(503, "The other processes of the server do not respond. Try again in a moment.", 1)
