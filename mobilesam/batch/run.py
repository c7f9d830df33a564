"""A whole run: from inputs to files, a journal and a report."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam._version import __version__
from mobilesam.batch.folder import one_run
from mobilesam.batch.job import SegmentationJob
from mobilesam.batch.journal import NAME, BadImage, Journal
from mobilesam.batch.journal_file import Planned, planned_before, refuse_journal
from mobilesam.batch.plan import files_of, plan, remove_files, reopen_changed
from mobilesam.batch.processes import MakeWork, run_work
from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted, make_segmentation
from mobilesam.batch.sources import find_images
from mobilesam.batch.tasks import Outcome, Task
from mobilesam.errors import InputError, MobileSamError
from mobilesam.files import unfinished_in
from mobilesam.formats.image_files import refuse_files
from mobilesam.formats.output import files_of_all, labels_of_prompts, write_files_of_all

Progress = Callable[[int, int, int], object]


class StoppedError(MobileSamError):
    """A strict run met a bad image."""


@dataclass(frozen=True)
class Report:
    """What came of a run.

    done: images with a result, also those of the run that was resumed. bad: the others, also those with results of an
    earlier run that can no longer be read; these results are kept.
    files: what holds the results of all images. left_out: images for which there is no prompt.
    """

    done: int
    bad: list[BadImage]
    files: list[Path]
    left_out: list[str] = field(default_factory=list)


def segment_images(
    job: SegmentationJob,
    *,
    progress: Progress | None = None,
    on_warning: Callable[[str], object] | None = None,
) -> Report:
    """Segment any number of images, and write the formats of a job into its folder.

    However often the run is stopped and resumed, and whichever worker is done first, the files are the same. An image
    whose file has changed since it was done, or whose results are incomplete, is done again on resume; one whose file
    can no longer be read is bad, and keeps its results. One run at a time works in a folder.

    Args:
        progress: called with the numbers of images done, of all, and of bad ones.
        on_warning: called with each warning, each text once.

    Raises:
        InputError: files exist already, or cannot be written, another run is at work in the folder, or memory ran out.
        StoppedError: an image is bad, and the run is strict.
        MissingDependencyError: a format or the engine needs a package that is not installed.
    """
    out, formats = job.out, job.formats
    of_all = files_of_all(out, formats)
    refuse_journal(out / NAME, resume=job.resume, force=job.force)
    earlier = planned_before(out / NAME) if job.resume else []
    sources = find_images(job.inputs, out, {each.source for each in earlier})
    tasks, left_out = plan(sources, out, job.prompts, earlier)
    labels = labels_of_prompts(prompt for task in tasks for prompt in task.prompts)
    files = (files_of(task, formats) for task in tasks)
    refuse_files(files, of_all.values(), [task.source for task in tasks], force=job.force or bool(earlier))
    assert job.settings is not None, "a job has settings"
    about = {
        "version": __version__,
        "how": {"mode" if job.prompts is None else "prompts": asdict(job.settings)},
        "words": sorted(formats),
        "model": job.model.settings(),
        "prompts": _digest_of_prompts(tasks),
    }
    images = [Planned(task.source, _name(task, out)) for task in tasks]
    try:
        with one_run(out):
            refuse_journal(out / NAME, resume=job.resume, force=job.force)  # again: another run may just have ended
            with Journal.open(out / NAME, about, images, resume=job.resume) as journal:
                unfinished = journal.make_folder()
                unreadable = reopen_changed(journal, tasks, formats, on_warning)
                done = journal.done()
                if job.strict and unreadable:
                    first = next(iter(unreadable.values()))
                    raise StoppedError(f"Stopped at the first bad image. {first.reason}")
                open_tasks = [task for task in tasks if task.number not in done]
                make_work = functools.partial(
                    make_segmentation, job.model, job.settings, tuple(formats), labels, unfinished
                )
                with contextlib.closing(_outcomes(make_work, open_tasks, job)) as outcomes:
                    _collect(outcomes, journal, len(done), len(unreadable), tasks, job, progress, on_warning)
                with unfinished_in(unfinished):
                    write_files_of_all(of_all, journal.results, labels, force=True)
                place = {task.source: task.number for task in tasks}
                bad = sorted([*journal.bad(), *unreadable.values()], key=lambda each: place[each.source])
                report = Report(len(journal.done()) - len(unreadable), bad, list(of_all.values()), left_out)
                journal.close_finished()
    except MemoryError as error:
        raise InputError(
            "The results do not fit into memory. Close other programs or use fewer workers, then go on with --resume."
        ) from error
    return report


def segment_pictures(
    inputs: Sequence[str],
    out: Path,
    *,
    how: Everything | Prompted | None = None,
    words: Sequence[str] = ("coco",),
    model: ModelChoice | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], object] | None = None,
    **options: Any,
) -> Report:
    """Do as :func:`segment_images`, whose name this was; it goes with release 0.3."""
    message = "mobilesam.batch.segment_pictures is now segment_images(SegmentationJob(...)). It goes with release 0.3."
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    job = SegmentationJob(inputs, out, settings=how, formats=words, model=model or ModelChoice(), **options)
    return segment_images(job, progress=progress, on_warning=notice)


def _outcomes(
    make_work: MakeWork,
    tasks: Sequence[Task],
    job: SegmentationJob,
) -> Generator[Outcome]:
    if not tasks:
        return
    if job.engine == "ray":
        from mobilesam.batch.ray_engine import run_with_ray, wants_gpu

        yield from run_with_ray(make_work, tasks, job.workers, job.ray_address, gpu=wants_gpu(job.model))
    else:
        yield from run_work(make_work, tasks, job.workers)


def _collect(
    outcomes: Iterable[Outcome],
    journal: Journal,
    kept: int,
    bad: int,
    tasks: Sequence[Task],
    job: SegmentationJob,
    progress: Progress | None,
    on_warning: Callable[[str], object] | None,
) -> None:
    """Note outcomes as they come; of the results that were kept, so many belong to bad images."""
    seen, done = set[str](), kept - bad
    if progress:
        progress(done, len(tasks), bad)
    for outcome in outcomes:
        if outcome.error is not None:
            remove_files(tasks[outcome.number], job.formats)  # of an earlier or a killed run
        journal.record(outcome)
        for text in outcome.notices:
            if on_warning and text not in seen:
                on_warning(text)
            seen.add(text)
        if outcome.error is None:
            done += 1
        else:
            bad += 1
            if job.strict:
                raise _stopped(tasks[outcome.number].source, outcome.error)
        if progress:
            progress(done, len(tasks), bad)


def _stopped(source: str, reason: str) -> StoppedError:
    if source not in reason and repr(source) not in reason:
        reason = f"{source}: {reason}"
    what = f"Stopped at the first bad image. {reason.rstrip('.')}."
    return StoppedError(f"{what} Fix the file, then run again with --resume.")


def _name(task: Task, out: Path) -> str:
    return (task.names.folder / task.names.stem).relative_to(out).as_posix()


def _digest_of_prompts(tasks: Sequence[Task]) -> str:
    """Return the sha256 of all prompts, with their ``mask_input``, which the text of a prompt leaves out."""
    digest = hashlib.sha256(repr([(task.file_name, task.prompts) for task in tasks]).encode())
    for task in tasks:
        for place, prompt in enumerate(task.prompts):
            if prompt.mask_input is not None:
                digest.update(f"{task.number} {place} ".encode())
                digest.update(np.asarray(prompt.mask_input, np.float32).tobytes())
    return digest.hexdigest()
