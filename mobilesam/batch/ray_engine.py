"""The engine "ray": Ray Data reads the files, and actors with a model decode, segment and write the images.

Ray replaces a lost actor and repeats its tasks. An image that is processed twice has the same files and one outcome. An
image at which every actor exits is repeated without end; the engine "local" reports which one it is.

On a cluster, every machine must have the images and the folder of the results under the same paths, or as URLs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mobilesam import cluster, loading
from mobilesam.batch.fingerprint import Fingerprint, ImageFile
from mobilesam.batch.pipeline import run_pipeline, take_from
from mobilesam.batch.processes import MakeWork
from mobilesam.batch.segmentation import ModelChoice
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, MobileSamError, sentence

_AT_ONCE = 4  # images in a batch of an actor: one is written while the next one is computed
_GPU_PROVIDERS = ("cuda", "tensorrt", "rocm", "migraphx")
_PER_WORKER = 256  # tasks of a data set; the actors load the model again for the next one
_WINDOW_BYTES = 2**28
_PER_BLOCK = 4  # images that one Ray task reads


def require_ray(address: str | None = None) -> None:
    """Raise MissingDependencyError if Ray is not installed; ``address`` is that of :func:`run_with_ray`."""
    cluster.require("ray.data", address=address)


def run_with_ray(
    make_work: MakeWork, tasks: Iterable[Task], workers: int, address: str | None = None, *, gpu: bool = False
) -> Iterator[Outcome]:
    """Yield the outcome of each task as it comes. Tasks that are not a sequence are taken some at a time.

    Args:
        make_work: returns the work of an actor; must be picklable.
        address: of a cluster; by default, Ray is started on this machine.
        gpu: whether to request a GPU, or a share of one, for each actor. Without a request an actor sees no GPU or all
            GPUs, depending on the version of Ray.

    Raises:
        MobileSamError: the work cannot be made, a file cannot be written, or there is no GPU or no cluster.
        MissingDependencyError: Ray is not installed.
    """
    require_ray(address)
    import ray
    import ray.data

    with _quiet(), cluster.running(address, workers + 1):  # the tasks that read files need cores beside the actors
        try:
            gpus = int(ray.cluster_resources().get("GPU", 0)) if gpu else 0  # type: ignore[no-untyped-call, unused-ignore]
            share = gpu_share(workers, gpus) if gpu else None
            for some in [tasks] if isinstance(tasks, Sequence) else _windows(iter(tasks), workers * _PER_WORKER):
                yield from _outcomes(make_work, some, workers, share)
        except ray.exceptions.RayError as error:
            for cause in _causes(error):
                if isinstance(cause, MobileSamError):
                    raise cause from error
            raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Limit Ray to log errors and show no progress bars, and restore its settings in this process afterwards."""
    import ray.data

    ray_logger, data_logger = logging.getLogger("ray"), logging.getLogger("ray.data")
    levels = [(logger, logger.level) for logger in (ray_logger, data_logger)]
    formatters = [(handler, handler.formatter) for handler in ray_logger.handlers]  # ray.init replaces them
    context = ray.data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    data_logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        for logger, level in levels:
            logger.setLevel(level)
        for handler, formatter in formatters:
            handler.setFormatter(formatter)


def wants_gpu(choice: ModelChoice) -> bool:
    """Return whether to request GPUs from Ray: whether the model runs on one, by name or by default.

    Raises:
        InputError: the device names a particular GPU, which only Ray can assign.
    """
    kind, _, number = choice.device.partition(":")
    if number:
        remedy = "use cuda, and Ray assigns a GPU to each worker"
        raise InputError(sentence("device", "not name a particular GPU with --engine ray", repr(choice.device), remedy))
    if kind == "cuda" or choice.provider in _GPU_PROVIDERS:
        return True
    if kind != "auto" or choice.provider is not None:
        return False
    if choice.backend == "onnx" or loading.find_export(choice.model):
        from mobilesam.onnx import providers

        return "cuda" in providers.available()
    if loading.onnx_is_faster("auto"):
        return False
    from mobilesam.runtimes import torch

    return torch.resolve_device("auto").type == "cuda"


def gpu_share(workers: int, gpus: int) -> float:
    """Return the share of a GPU that each actor requests: 1, or less if there are fewer GPUs than workers.

    Raises:
        InputError: there is no GPU, for which Ray would wait forever.
    """
    if gpus < 1:
        raise InputError("The Ray cluster has no GPU. Start Ray on a machine with a GPU, or use --device cpu.")
    return 1 / math.ceil(workers / gpus)


def _windows(tasks: Iterator[Task], most: int) -> Iterator[list[Task]]:
    """Yield tasks in lists, limited by the bytes of their images too: Ray holds all tasks of a data set in memory."""
    window: list[Task] = []
    size = 0
    for task in tasks:
        window.append(task)
        size += len(getattr(task, "content", None) or b"")
        if len(window) >= most or size > _WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _outcomes(make_work: MakeWork, tasks: Sequence[Task], workers: int, num_gpus: float | None) -> Iterator[Outcome]:
    import ray

    blocks = max(workers, -(-len(tasks) // _PER_BLOCK))
    rows = [{"task": pickle.dumps(task.absolute())} for task in tasks]
    outcomes = (
        ray.data.from_items(rows, override_num_blocks=min(blocks, len(rows)))
        .map(_read, num_cpus=0.5)
        .map_batches(
            _Actor,
            fn_constructor_args=(make_work,),
            batch_size=_AT_ONCE,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(tasks))),
            num_cpus=1,
            num_gpus=num_gpus,
        )
    )
    by_number = {task.number: task for task in tasks}
    for row in outcomes.iter_rows():
        task = by_number.pop(int(row["number"]), None)
        if task is None:
            continue  # in case Ray returns a row twice
        error, warnings, fingerprint, problems = json.loads(row["about"])
        absolute = task.absolute().source
        yield Outcome(
            task.number,
            row["result"],
            error and error.replace(absolute, task.source),
            tuple(text.replace(absolute, task.source) for text in warnings),
            fingerprint and Fingerprint(*fingerprint),
            tuple(problems),
        )
    assert not by_number, f"Ray lost {len(by_number)} images"


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """Add to a task the bytes of its file, which are far fewer than its pixels, or an error."""
    try:
        content, fingerprint = pickle.loads(row["task"]).read()
    except (InputError, MemoryError) as error:
        reason = str(error) if isinstance(error, InputError) else "the file does not fit into memory"
        return row | {"content": b"", "fingerprint": "", "error": json.dumps(reason)}
    return row | {"content": content, "fingerprint": json.dumps(fingerprint), "error": ""}


class _Actor:
    def __init__(self, make_work: MakeWork) -> None:
        self._work = make_work()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        tasks = [pickle.loads(task) for task in batch["task"]]
        rows = zip(batch["content"], batch["fingerprint"], batch["error"], strict=True)
        given = _Given(self._work, {task.number: row for task, row in zip(tasks, rows, strict=True)})
        outcomes = list(run_pipeline(given, take_from(tasks)))
        return {
            "number": [outcome.number for outcome in outcomes],
            "result": [outcome.result for outcome in outcomes],
            "about": [json.dumps([each.error, each.warnings, each.fingerprint, each.problems]) for each in outcomes],
        }


class _Given:
    """Work on files that have been read already."""

    def __init__(self, work: Work, rows: dict[int, Any]) -> None:
        self._rows = rows
        self.encode_batch = work.encode_batch
        self.decode = work.decode
        self.encode = work.encode
        self.compute = work.compute
        self.problems = work.problems
        self.write = work.write

    def read(self, task: Task) -> ImageFile:
        content, fingerprint, error = self._rows[task.number]
        if error:
            raise InputError(json.loads(error))
        return ImageFile(bytes(content), Fingerprint(*json.loads(fingerprint)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, which Ray stores in the attribute ``cause``."""
    while error is not None:
        yield error
        error = getattr(error, "cause", None) or error.__cause__  # type: ignore[assignment]
