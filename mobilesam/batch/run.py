"""A whole run: from inputs to files, a journal and a report."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from mobilesam._version import __version__
from mobilesam.batch.folder import one_run
from mobilesam.batch.journal import NAME, BadPicture, Journal
from mobilesam.batch.journal_file import Planned, planned_before, refuse_journal
from mobilesam.batch.plan import files_of, plan, remove_files, reopen_changed
from mobilesam.batch.processes import MakeWork, run_work
from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted, make_segmentation
from mobilesam.batch.sources import find_pictures
from mobilesam.batch.tasks import Outcome, Task
from mobilesam.errors import InputError, MobileSamError, sentence, unknown_name
from mobilesam.files import unfinished_in
from mobilesam.formats.image_files import refuse_files
from mobilesam.formats.output import WORDS, files_of_all, labels_of_prompts, write_files_of_all
from mobilesam.masks.selection import RULES
from mobilesam.prompts.file import PromptFile

Progress = Callable[[int, int, int], object]
ENGINES = ("local", "ray")


class StoppedError(MobileSamError):
    """A strict run met a bad picture."""


@dataclass(frozen=True)
class Report:
    """What came of a run.

    done: images with a result, also those of the run that was resumed. bad: the others, also those with results of an
    earlier run that can no longer be read; these results are kept.
    files: what holds the results of all pictures. left_out: pictures for which there is no prompt.
    """

    done: int
    bad: list[BadPicture]
    files: list[Path]
    left_out: list[str] = field(default_factory=list)


def segment_pictures(
    inputs: Sequence[str],
    out: Path,
    *,
    prompts: PromptFile | None = None,
    how: Everything | Prompted | None = None,
    words: Sequence[str] = ("coco",),
    model: ModelChoice | None = None,
    workers: int = 1,
    engine: str = "local",
    ray_address: str | None = None,
    resume: bool = False,
    force: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
    notice: Callable[[str], object] | None = None,
) -> Report:
    """Segment any number of pictures, and write what ``words`` name into a folder.

    However often the run is stopped and resumed, and whichever worker is done first, the files are the same. An image
    whose file has changed since it was done, or whose results are incomplete, is done again on resume; one whose file
    can no longer be read is bad, and keeps its results. One run at a time works in a folder.

    Args:
        inputs: pictures, folders, globs and lists, see :func:`mobilesam.batch.sources.find_pictures`.
        prompts: the objects of the pictures; those that it does not name are left out. None for everything mode.
        how: settings of either way; by default those of the way that ``prompts`` chooses.
        words: formats, of :data:`mobilesam.formats.output.WORDS`.
        workers: processes, each with a model; 1 is this process. With more, the module that is run as a script needs
            the usual ``if __name__ == "__main__":``.
        engine: "local", or "ray" for Ray Data with as many actors; the extra ``ray`` brings it.
        ray_address: of a Ray cluster; by default Ray on this machine.
        resume: go on with a stopped run, and try its bad pictures again.
        force: start again, over the files of an earlier run.
        strict: stop at the first bad picture.
        progress: called with the numbers of pictures done, of all, and of bad ones.
        notice: called with what else is to be told, each text once.

    Raises:
        InputError: an argument is not usable, files exist already, or cannot be written, another run is at work in the
            folder, or memory ran out.
        StoppedError: a picture is bad, and the run is strict.
        MissingDependencyError: a format or the engine needs a package that is not installed.
    """
    out, model = Path(out), model or ModelChoice()
    how = how or (Everything() if prompts is None else Prompted())
    _check(prompts, how, words, workers)
    if engine not in ENGINES:
        raise InputError(unknown_name("engine", engine, ENGINES))
    of_all = files_of_all(out, words)
    refuse_journal(out / NAME, resume=resume, force=force)
    earlier = planned_before(out / NAME) if resume else []
    tasks, left_out = plan(find_pictures(inputs, out, {each.source for each in earlier}), out, prompts, earlier)
    labels = labels_of_prompts(prompt for task in tasks for prompt in task.prompts)
    files = (files_of(task, words) for task in tasks)
    refuse_files(files, of_all.values(), [task.source for task in tasks], force=force or bool(earlier))
    about = {
        "version": __version__,
        "how": {"mode" if isinstance(how, Everything) else "prompts": asdict(how)},
        "words": sorted(words),
        "model": model.settings(),
        "prompts": _digest_of_prompts(tasks),
    }
    pictures = [Planned(task.source, _name(task, out)) for task in tasks]
    try:
        with one_run(out):
            refuse_journal(out / NAME, resume=resume, force=force)  # again: another run may just have ended
            with Journal.open(out / NAME, about, pictures, resume=resume) as journal:
                unfinished = journal.make_folder()
                unreadable = reopen_changed(journal, tasks, words, notice)
                done = journal.done()
                if strict and unreadable:
                    first = next(iter(unreadable.values()))
                    raise StoppedError(f"Stopped at the first bad image. {first.reason}")
                open_tasks = [task for task in tasks if task.number not in done]
                make_work = functools.partial(make_segmentation, model, how, tuple(words), labels, unfinished)
                outcomes = _outcomes(make_work, open_tasks, workers, engine, ray_address, model)
                with contextlib.closing(outcomes):
                    _take(outcomes, journal, len(done), len(unreadable), tasks, words, strict, progress, notice)
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


def _outcomes(
    make_work: MakeWork,
    tasks: Sequence[Task],
    workers: int,
    engine: str,
    ray_address: str | None,
    model: ModelChoice,
) -> Generator[Outcome]:
    if not tasks:
        return
    if engine == "ray":
        from mobilesam.batch.ray_engine import run_with_ray, wants_gpu

        yield from run_with_ray(make_work, tasks, workers, ray_address, gpu=wants_gpu(model))
    else:
        yield from run_work(make_work, tasks, workers)


def _take(
    outcomes: Iterable[Outcome],
    journal: Journal,
    kept: int,
    bad: int,
    tasks: Sequence[Task],
    words: Sequence[str],
    strict: bool,
    progress: Progress | None,
    notice: Callable[[str], object] | None,
) -> None:
    """Note outcomes as they come; of the results that were kept, so many belong to bad images."""
    said, done = set[str](), kept - bad
    if progress:
        progress(done, len(tasks), bad)
    for outcome in outcomes:
        if outcome.error is not None:
            remove_files(tasks[outcome.number], words)  # of an earlier run, or of one that was killed at this picture
        journal.record(outcome)
        for text in outcome.notices:
            if notice and text not in said:
                notice(text)
            said.add(text)
        if outcome.error is None:
            done += 1
        else:
            bad += 1
            if strict:
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


def _check(prompts: PromptFile | None, how: Everything | Prompted, words: Sequence[str], workers: int) -> None:
    if isinstance(how, Everything) != (prompts is None):
        actual = f"{type(how).__name__} {'without' if prompts is None else 'with'} prompts"
        remedy = "use Everything without prompts, Prompted with them"
        raise InputError(sentence("how", "fit the prompts", actual, remedy))
    if isinstance(how, Prompted) and how.select is not None and how.select not in RULES:
        raise InputError(unknown_name("select", how.select, RULES))
    for word in words or [""]:
        if word not in WORDS:
            raise InputError(unknown_name("words", word, WORDS))
    if workers < 1:
        raise InputError(sentence("workers", "be at least 1", workers, "leave it out for one"))
