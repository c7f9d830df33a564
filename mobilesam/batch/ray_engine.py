"""The same work on Ray: Ray Data reads the pictures, actors hold the model, outcomes stream back to the journal.

Ray starts a lost worker again and gives it what it had at hand. A picture done twice writes the same files twice, and
its outcome comes once. A picture that no worker survives is tried without end; the local engine tells which it is.

On a cluster the pictures and the folder of the results have the same paths on every machine.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.batch.pipeline import run_pipeline, take_from
from mobilesam.batch.processes import MakeWork
from mobilesam.batch.tasks import Outcome, Task, UInt8Array, Work
from mobilesam.errors import InputError, MobileSamError, missing_dependency
from mobilesam.formats.naming import Names
from mobilesam.image import read_image

_AT_ONCE = 4  # pictures that an actor is given together: one is written while the next one is computed
_PER_BLOCK = 4  # pictures that one task reads, and whose outcomes come together


def run_with_ray(
    make_work: MakeWork, tasks: Sequence[Task], workers: int, address: str | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of each task as it comes.

    Args:
        make_work: makes the work in each actor; it must pickle.
        address: of a cluster; by default, and if none runs, Ray is started on this machine.

    Raises:
        MobileSamError: the work cannot be made, or a file not be written.
        MissingDependencyError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_dependency("ray", "ray", "--engine ray") from error
    started = not ray.is_initialized()
    if started:
        # Readers need a share of the machine besides the actors.
        here: dict[str, Any] = {} if address else {"num_cpus": max(os.cpu_count() or 1, workers + 1)}
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **here)
    try:
        yield from _outcomes(make_work, tasks, workers)
    except ray.exceptions.RayError as error:
        for cause in _causes(error):
            if isinstance(cause, MobileSamError):
                raise cause from error
        raise
    finally:
        if started:
            ray.shutdown()


def _outcomes(make_work: MakeWork, tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = max(workers, -(-len(tasks) // _PER_BLOCK))
    rows = [{"task": pickle.dumps(_absolute(task))} for task in tasks]
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
        )
    )
    by_number = {task.number: task for task in tasks}
    for row in outcomes.iter_rows():
        task = by_number.pop(int(row["number"]), None)
        if task is None:
            continue  # Ray promises each row once; a picture counted twice would be the worse mistake
        told = json.loads(row["told"])
        error = told["error"] and told["error"].replace(str(Path(task.source).absolute()), task.source)
        yield Outcome(task.number, row["result"], error, tuple(told["notices"]))
    assert not by_number, f"Ray lost {len(by_number)} pictures"


def _absolute(task: Task) -> Task:
    """Return the task for a process that works in another folder."""
    names = Names(task.names.folder.absolute(), task.names.stem)
    return replace(task, source=str(Path(task.source).absolute()), names=names)


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """Return a task with its picture's bytes and size, or with why it cannot be read."""
    try:
        image = read_image(pickle.loads(row["task"]).source)
    except InputError as error:
        return row | {"pixels": b"", "height": 0, "width": 0, "error": str(error)}
    return row | {"pixels": image.tobytes(), "height": image.shape[0], "width": image.shape[1], "error": ""}


class _Actor:
    """Holds the model."""

    def __init__(self, make_work: MakeWork) -> None:
        self._work = make_work()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        tasks = [pickle.loads(task) for task in batch["task"]]
        rows = zip(batch["pixels"], batch["height"], batch["width"], batch["error"], strict=True)
        given = _Given(self._work, {task.number: row for task, row in zip(tasks, rows, strict=True)})
        outcomes = list(run_pipeline(given, take_from(tasks)))
        return {
            "number": [outcome.number for outcome in outcomes],
            "result": [outcome.result for outcome in outcomes],
            "told": [json.dumps({"error": each.error, "notices": each.notices}) for each in outcomes],
        }


class _Given:
    """Work whose pictures have been read already."""

    def __init__(self, work: Work, rows: dict[int, Any]) -> None:
        self._rows = rows
        self.compute = work.compute
        self.write = work.write

    def read(self, task: Task) -> UInt8Array:
        pixels, height, width, error = self._rows[task.number]
        if error:
            raise InputError(str(error))
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it; Ray keeps that in an attribute of its own."""
    while error is not None:
        yield error
        error = getattr(error, "cause", None) or error.__cause__  # type: ignore[assignment]
