"""A run of a batch, from the inputs to the files and the report."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilesam._version import __version__
from mobilesam.batch.folder import one_run
from mobilesam.batch.job import SegmentationJob
from mobilesam.batch.journal import NAME, BadImage, Journal
from mobilesam.batch.journal_file import Planned, planned_before, refuse_journal
from mobilesam.batch.listed_run import segment_listed
from mobilesam.batch.listing import needs_listing
from mobilesam.batch.plan import coco_ids, digest_of_prompts, files_of, plan, remove_files, reopen_changed
from mobilesam.batch.processes import MakeWork, run_work
from mobilesam.batch.ray_engine import require_ray
from mobilesam.batch.report import OnWarning, Progress, Report, StoppedError, stopped
from mobilesam.batch.segmentation import Segmentation
from mobilesam.batch.sources import find_images
from mobilesam.batch.tasks import Outcome, Task
from mobilesam.errors import InputError
from mobilesam.files import unfinished_in
from mobilesam.formats.coco import CocoIds
from mobilesam.formats.image_files import refuse_files
from mobilesam.formats.output import files_of_all, labels_of_prompts, write_files_of_all


def segment_images(
    job: SegmentationJob, *, progress: Progress | None = None, on_warning: OnWarning | None = None
) -> Report:
    """Segment any number of images, and write the formats of a job into its folder.

    The files are the same however often the run is stopped and resumed, and in whichever order the workers finish. On
    resume an image is segmented again if its file has changed or its results are incomplete. An image whose file can
    no longer be read is bad and keeps its results. A folder allows one run at a time.

    Args:
        progress: called with the number of images done, of all images, and of bad images.
        on_warning: called with each warning, once per text.

    Raises:
        InputError: files exist already or cannot be written, another run uses the folder, or memory is exhausted.
        StoppedError: an image is bad, and the run is strict.
        MissingDependencyError: a format or the engine needs a package that is not installed.
    """
    if needs_listing(job.inputs, job.out):
        return segment_listed(job, progress, on_warning)
    out, formats = Path(job.out), job.formats
    of_all = files_of_all(out, formats)
    refuse_journal(out / NAME, resume=job.resume, force=job.force)
    earlier = planned_before(out / NAME) if job.resume else []
    sources = find_images(job.inputs, out, {each.source for each in earlier})
    tasks, left_out, not_given = plan(sources, out, job.prompts, earlier)
    problems = [] if job.prompts is None else [each.text for each in job.prompts.problems]
    problems += [] if all(map(os.path.isfile, job.inputs)) else not_given  # else the other images were not meant
    if job.strict and problems:
        raise StoppedError(f"Stopped at the first problem. {problems[0].rstrip('.')}. Then run again.")
    files = (files_of(task, formats) for task in tasks)
    read = [task.source for task in tasks] + [str(path) for path in (job.prompts.files if job.prompts else ())]
    refuse_files(files, of_all.values(), read, force=job.force or bool(earlier))
    assert job.settings is not None, "a job has settings"
    about = {
        "version": __version__,
        "settings": {"mode" if job.prompts is None else "prompts": asdict(job.settings)},
        "formats": sorted(formats),
        "model": job.model.settings(),
        "prompts": [digest_of_prompts(task) for task in tasks],
    }
    images = [Planned(task.source, (task.names.folder / task.names.stem).relative_to(out).as_posix()) for task in tasks]
    if job.engine == "ray":
        require_ray(job.ray_address)
    try:
        with one_run(out):
            refuse_journal(out / NAME, resume=job.resume, force=job.force)  # again: another run may just have ended
            with Journal.open(out / NAME, about, images, resume=job.resume) as journal:
                if journal.changed_prompts and on_warning:
                    on_warning(f"images with other prompts: {journal.changed_prompts}; they are processed again")
                done, bad, outside = _segment(job, tasks, of_all, journal, progress, on_warning)
    except MemoryError as error:
        raise InputError(
            "The results do not fit into memory. Close other programs or use fewer workers, then run again with "
            "--resume."
        ) from error
    return Report(done, bad, list(of_all.values()), left_out, [*problems, *outside])


def segment_pictures(inputs: Sequence[str], out: Path, **options: Any) -> Report:
    """Deprecated name of :func:`segment_images`, with the arguments of a job as its own."""
    message = "mobilesam.batch.segment_pictures is now segment_images(SegmentationJob(...))."
    warnings.warn(f"{message} The old name will be removed in release 0.3.", DeprecationWarning, stacklevel=2)
    new_names = {"how": "settings", "words": "formats", "notice": "on_warning"}
    options = {new_names.get(name, name): value for name, value in options.items() if value is not None}
    calls = {name: options.pop(name) for name in ("progress", "on_warning") if name in options}
    return segment_images(SegmentationJob(inputs, out, **options), **calls)


def _segment(
    job: SegmentationJob,
    tasks: Sequence[Task],
    of_all: dict[str, Path],
    journal: Journal,
    progress: Progress | None,
    on_warning: OnWarning | None,
) -> tuple[int, list[BadImage], list[str]]:
    """Segment the images without a result, write the files of all images, and return what the report says of images."""
    assert job.settings is not None, "a job has settings"
    unfinished = journal.make_folder()
    labels = labels_of_prompts(prompt for task in tasks for prompt in task.prompts)
    categories: Mapping[str, int] = {}
    if job.prompts is not None:
        labels = tuple(dict.fromkeys([*job.prompts.labels, *labels])) if job.prompts.labels else labels
        categories = job.prompts.category_ids
    unreadable = reopen_changed(journal, tasks, job.formats, on_warning)
    if job.strict and unreadable:
        raise StoppedError(f"Stopped at the first bad image. {unreadable[0].reason}")
    kept, bad, seen = journal.done(), len(unreadable), set[str]()
    done = len(kept) - bad
    if progress:
        progress(done, len(tasks), bad)
    settings = (job.model, job.settings, tuple(job.formats), labels, unfinished, job.embeddings)
    make_work = functools.partial(Segmentation, *settings)
    open_tasks = [task for task in tasks if task.number not in kept]
    with contextlib.closing(_outcomes(job, make_work, open_tasks)) as outcomes:
        for outcome in outcomes:
            source = tasks[outcome.number].source
            if outcome.error is not None:
                remove_files(tasks[outcome.number], job.formats)  # of an earlier or a killed run
            journal.record(outcome)
            for text in outcome.warnings:
                if on_warning and text not in seen:
                    on_warning(text)
                seen.add(text)
            if job.strict and outcome.problems:
                raise StoppedError(f"Stopped at the first problem. {outcome.problems[0].rstrip('.')}. Then run again.")
            if outcome.error is None:
                done += 1
            elif job.strict:
                bad_image = BadImage(source, outcome.error)
                raise StoppedError(stopped(bad_image, again="Fix the file, then run again with --resume."))
            else:
                bad += 1
            if progress:
                progress(done, len(tasks), bad)
    with unfinished_in(unfinished):
        ids = CocoIds(coco_ids(tasks, job.prompts), categories)
        write_files_of_all(of_all, journal.results, labels, ids, force=True)
    place = {task.source: task.number for task in tasks}
    images = sorted([*journal.bad(), *unreadable], key=lambda each: place[each.source])
    done, problems = len(journal.done()) - len(unreadable), journal.problems()
    journal.close_finished()
    return done, images, problems


def _outcomes(job: SegmentationJob, make_work: MakeWork, tasks: Sequence[Task]) -> Generator[Outcome]:
    if tasks and job.engine == "ray":
        from mobilesam.batch.ray_engine import run_with_ray, wants_gpu

        yield from run_with_ray(make_work, tasks, job.workers, job.ray_address, gpu=wants_gpu(job.model))
    elif tasks:
        yield from run_work(make_work, tasks, job.workers)
