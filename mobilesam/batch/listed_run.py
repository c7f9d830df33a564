"""A run whose images are listed in parts: from or to object storage, or from archives.

Tasks are made when a worker needs them, so that the memory does not depend on the number of images. Results are
recorded part by part, see :mod:`mobilesam.batch.parts`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from mobilesam import storage
from mobilesam._version import __version__
from mobilesam.batch.folder import one_run
from mobilesam.batch.job import SegmentationJob
from mobilesam.batch.journal import BadImage
from mobilesam.batch.listing import Listed, Listing
from mobilesam.batch.parts import Entry, Marker, PartJournal
from mobilesam.batch.plan import digest_of_prompts, files_of, prompts_without_images
from mobilesam.batch.processes import MakeWork, run_work
from mobilesam.batch.ray_engine import require_ray, run_with_ray, wants_gpu
from mobilesam.batch.report import OnWarning, Progress, Report, StoppedError, stopped
from mobilesam.batch.stored import StoredSegmentation, remove_masks
from mobilesam.batch.tasks import ListedTask, Outcome, Task
from mobilesam.errors import InputError, MobileSamError
from mobilesam.formats.coco import CocoIds
from mobilesam.formats.naming import Names
from mobilesam.formats.output import files_of_all, labels_of_prompts, write_files_of_all
from mobilesam.prompts.file import PromptFile
from mobilesam.storage import Place

_MOST_LEFT_OUT = 1000  # names in the report


def segment_listed(job: SegmentationJob, progress: Progress | None, on_warning: OnWarning | None) -> Report:
    """Do what :func:`mobilesam.batch.segment_images` does, with images as :class:`Listing` yields them.

    The number of all images is not known before the end, and ``progress`` gets 0 for it.
    """
    problems = [] if job.prompts is None else [each.text for each in job.prompts.problems]
    if job.strict and problems:
        raise StoppedError(f"Stopped at the first problem. {problems[0].rstrip('.')}. Then run again.")
    if job.engine == "ray":
        require_ray(job.ray_address)
    assert job.settings is not None, "a job has settings"
    files_of_all(Path(), job.formats)  # raises an error if a package is missing
    about = {
        "version": __version__,
        "settings": {"mode" if job.prompts is None else "prompts": asdict(job.settings)},
        "formats": sorted(job.formats),
        "model": job.model.settings(),
        "labels": list(_labels(job.prompts)),
    }
    parts = Listing(job.inputs, job.out).parts()
    first = next(parts)  # before the journal exists: what cannot be listed is no run to resume
    run = _Run(job, itertools.chain([first], parts), progress, on_warning)
    with one_run(job.out) if isinstance(job.out, Path) else contextlib.nullcontext():
        run.journal.open(about, resume=job.resume, force=job.force)
        return run.run(problems)


@dataclass
class _Part:
    """A part of which images are in flight; the entries of those are None."""

    number: int
    digest: str
    markers: list[Marker]
    identities: list[str]
    entries: list[Entry | None]


class _Run:
    def __init__(
        self,
        job: SegmentationJob,
        parts: Iterator[list[Listed]],
        progress: Progress | None,
        on_warning: OnWarning | None,
    ) -> None:
        self.journal = PartJournal(job.out)
        self._job, self._listed, self._progress, self._on_warning = job, parts, progress, on_warning
        self._again = job.force or job.resume
        self._in_flight: dict[int, tuple[_Part, int, Task]] = {}
        self._parts = self._done = self._bad = self._left_out = 0
        self._left_out_first: list[str] = []
        self._named = set[str]()  # by the prompts
        self._ids: dict[str, int] = {}
        self._warned = set[str]()

    def run(self, problems: list[str]) -> Report:
        """Segment the images without a result, and write the files of all images."""
        job = self._job
        assert job.settings is not None, "a job has settings"
        out = job.out.absolute() if isinstance(job.out, Path) else job.out
        labels = _labels(job.prompts)
        settings = (job.model, job.settings, tuple(job.formats), labels, out, self._again, job.embeddings)
        try:
            make_work = functools.partial(StoredSegmentation, *settings)
            with contextlib.closing(_outcomes(job, make_work, self._tasks())) as outcomes:
                for outcome in outcomes:
                    self._record(outcome)
        except BaseException:
            with contextlib.suppress(MobileSamError):  # the first error is reported
                for part in {part.number: part for part, _, _ in self._in_flight.values()}.values():
                    if any(part.entries):
                        self._write(part)
            raise
        if not self._parts:
            self.journal.discard()
            raise InputError(
                f"The prompts name none of the {self._left_out} images, such as {self._left_out_first[0]!r}. Check "
                "the names in the prompt file."
            )
        self.journal.finish(self._parts)
        names = {} if job.prompts is None else job.prompts.category_ids
        ids = self._ids if len({*self._ids.values()}) == len(self._ids) else {}
        files: list[Place] = []
        with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
            of_all = files_of_all(Path(folder), job.formats)
            write_files_of_all(of_all, self.journal.images, labels, CocoIds(ids, names), force=True)
            for path in of_all.values():
                files.append(storage.join(job.out, path.name))
                storage.upload(path, files[-1])
        done, bad = 0, list[BadImage]()
        for entry in self.journal.all_entries():
            done += entry.error is None
            bad += [BadImage(entry.source, entry.error)] if entry.error is not None else []
            problems += entry.problems
        problems += [] if job.prompts is None else prompts_without_images(job.prompts, self._named)
        more = self._left_out - len(self._left_out_first)
        return Report(done, bad, files, self._left_out_first, problems, more)

    def _tasks(self) -> Iterator[Task]:
        """Yield the tasks of the images without a result."""
        prompts, numbers = self._job.prompts, itertools.count()
        for part in self._listed:
            tasks = []
            for image in part:
                name = None if prompts is None or not prompts.images else prompts.name_of(image.source)
                if prompts is not None and prompts.images and name is None and not image.error:
                    self._left_out += 1
                    self._left_out_first += [image.source] if self._left_out <= _MOST_LEFT_OUT else []
                    continue
                if prompts is not None and name is not None:
                    self._named.add(name)
                    if name in prompts.image_ids:
                        self._ids[image.name] = prompts.image_ids[name]
                tasks.append((image, self._task(next(numbers), image)))
            if tasks:
                yield from self._open(tasks)
                self._parts += 1

    def _task(self, number: int, image: Listed) -> ListedTask:
        stem = PurePosixPath(image.stem)
        prompts = self._job.prompts
        objects = () if prompts is None or image.error else tuple(prompts.for_image(image.source))
        names = Names(Path(stem.parent), stem.name)
        task = ListedTask(number, image.source, image.name, names, objects, image.error)
        of_all = files_of_all(Path(), self._job.formats).values()
        if twice := {*files_of(task, self._job.formats).written(0)} & {*of_all}:
            reason = f"{image.source} and all images would have one file, {twice.pop()}. Rename the image."
            return replace(task, error=reason)
        return task

    def _open(self, tasks: Sequence[tuple[Listed, ListedTask]]) -> Iterator[Task]:
        """Yield the tasks of a part that have no result."""
        identities = [_identity(image, task) for image, task in tasks]
        digest = _digest(identities)
        markers = self.journal.markers_of(self._parts)
        done = [marker for marker in markers if marker.digest == digest and not marker.unfinished]
        if done:
            self.journal.remove([marker for marker in markers if marker not in done])
            self._count(done=len(tasks))
            return
        known = {entry.identity: entry for entry in self.journal.entries(self._parts)} if markers else {}
        known = {identity: entry for identity, entry in known.items() if entry.error is None}
        part = _Part(self._parts, digest, markers, identities, [known.get(identity) for identity in identities])
        self._count(done=sum(entry is not None for entry in part.entries))
        open_places = [place for place, entry in enumerate(part.entries) if entry is None]
        for place in open_places:
            self._in_flight[tasks[place][1].number] = part, place, tasks[place][1]
        for place in open_places:
            image, task = tasks[place]
            yield image.load(task)
        if not open_places:
            self._write(part)

    def _record(self, outcome: Outcome) -> None:
        part, place, task = self._in_flight.pop(outcome.number)
        if outcome.error is not None and self._again:  # files of an earlier or a killed run
            for path in files_of(task, self._job.formats).written(0):
                storage.remove(storage.join(self._job.out, path.as_posix()))
            remove_masks(task, self._job.formats, self._job.out, keep=())
        result = b"" if outcome.error is not None else outcome.result
        part.entries[place] = Entry(part.identities[place], task.source, outcome.error, outcome.problems, result)
        if None not in part.entries:
            self._write(part)
        for text in outcome.warnings:
            if self._on_warning and text not in self._warned:
                self._on_warning(text)
            self._warned.add(text)
        if self._job.strict and outcome.problems:
            raise StoppedError(f"Stopped at the first problem. {outcome.problems[0].rstrip('.')}. Then run again.")
        if self._job.strict and outcome.error is not None:
            again = "Fix the file, then run again with --resume."
            raise StoppedError(stopped(BadImage(task.source, outcome.error), again))
        self._count(done=outcome.error is None, bad=outcome.error is not None)

    def _write(self, part: _Part) -> None:
        entries = [entry for entry in part.entries if entry is not None]
        unfinished = len(part.entries) - sum(entry.error is None for entry in entries)
        self.journal.write(Marker(part.number, part.digest, unfinished), entries, part.markers)

    def _count(self, done: int = 0, bad: int = 0) -> None:
        self._done, self._bad = self._done + done, self._bad + bad
        if self._progress:
            self._progress(self._done, 0, self._bad)


def _outcomes(job: SegmentationJob, make_work: MakeWork, tasks: Iterator[Task]) -> Generator[Outcome]:
    first = next(tasks, None)
    if first is None:  # no model is loaded
        return
    tasks = itertools.chain([first], tasks)
    if job.engine == "ray":
        yield from run_with_ray(make_work, tasks, job.workers, job.ray_address, gpu=wants_gpu(job.model))
    else:
        yield from run_work(make_work, tasks, job.workers)


def _labels(prompts: PromptFile | None) -> tuple[str, ...]:
    """Return the labels of all prompts, in the order of the prompts."""
    if prompts is None:
        return labels_of_prompts(())
    named = (prompt for objects in prompts.images.values() for prompt in objects)
    labels = labels_of_prompts(named if prompts.images else prompts.objects)
    return tuple(dict.fromkeys([*prompts.labels, *labels])) if prompts.labels else labels


def _identity(image: Listed, task: Task) -> str:
    """Return a digest of the bytes of an image, as far as they are known, of its names, and of its prompts."""
    prompts = digest_of_prompts(task)
    return _digest([image.source, image.name, image.stem, image.version, prompts, task.error])


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256(repr(list(texts)).encode()).hexdigest()[:32]
