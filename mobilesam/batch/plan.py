"""Which images a run has to do, under which names, and which of those that are done must be done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mobilesam.batch.fingerprint import Fingerprint, read_again
from mobilesam.batch.journal import BadImage, Journal
from mobilesam.batch.journal_file import Planned
from mobilesam.batch.sources import Source, name_files
from mobilesam.batch.tasks import Task
from mobilesam.errors import InputError, sentence
from mobilesam.formats.image_files import ImageFiles
from mobilesam.formats.masked_image import OBJECT
from mobilesam.formats.naming import Names
from mobilesam.formats.output import PER_MASK
from mobilesam.prompts.file import PromptFile


def plan(
    sources: Sequence[Source], out: Path, prompts: PromptFile | None, earlier: Sequence[Planned] = ()
) -> tuple[list[Task], list[str]]:
    """Return the tasks, and the images for which there is no prompt.

    Args:
        earlier: the images of the run that is resumed. Those that no longer exist keep their place and name, whether
            or not they are given.

    Raises:
        InputError: there is no prompt for any image.
    """
    tasks: list[Task] = []
    left_out: list[str] = []
    for source, names in zip(sources, name_files(sources, out), strict=True):
        task = _task(len(tasks), source.path, names, prompts)
        if task is None:
            left_out.append(source.path)
        else:
            tasks.append(task)
    given = {task.source for task in tasks}
    not_given = {each.source for each in earlier} - given
    # An image that is new, or that exists and is not given, is refused by the journal, with its name.
    if given <= {each.source for each in earlier} and not any(map(os.path.isfile, not_given)):
        names_before = [Names((out / each.name).parent, Path(each.name).name) for each in earlier]
        again = [
            _task(number, each.source, names, prompts)
            for number, (each, names) in enumerate(zip(earlier, names_before, strict=True))
        ]
        tasks = [task for task in again if task is not None] or tasks
    if not tasks:
        actual = f"none of {len(left_out)}, such as {left_out[0]!r}"
        raise InputError(sentence("the prompts", "name an image that is given", actual, "check the names in the file"))
    return tasks, left_out


def files_of(task: Task, words: Sequence[str], labels: Sequence[str] = (OBJECT,)) -> ImageFiles:
    """Return the files of an image; ``labels`` are those of YOLO's classes."""
    return ImageFiles(task.names, words, True, task.source, task.file_name, labels, task.prompts)


def remove_files(task: Task, words: Sequence[str]) -> None:
    """Remove the files of an image that has become bad.

    Raises:
        InputError: they cannot be removed.
    """
    try:
        files_of(task, words).remove()
    except OSError as error:
        raise InputError(f"The files of {task.source} cannot be removed: {error}. Check the folder.") from error


def reopen_changed(
    journal: Journal, tasks: Sequence[Task], words: Sequence[str], notice: Callable[[str], object] | None
) -> dict[int, BadImage]:
    """Reopen the images whose file has changed since they were done, or whose results are incomplete.

    The bytes of a file are compared if its size or time of modification differ.

    Returns:
        Images that cannot be read now, by their numbers, as on a disk that is not mounted; their results are kept.
    """
    same: dict[int, Fingerprint] = {}
    unreadable: dict[int, BadImage] = {}
    changed, incomplete = list[Task](), list[Task]()
    for number, before in journal.fingerprints().items():
        task = tasks[number]
        try:
            now = read_again(task.source, before)
        except OSError as error:
            unreadable[number] = BadImage(
                task.source,
                f"{task.source} can no longer be read ({error.strerror}). Its earlier results are kept. "
                "Restore the file and run again with --resume, or start again with --force.",
            )
            continue
        except InputError:
            now = None  # reading it again says what is wrong
        if now is None or now.sha256 != before.sha256:
            changed.append(task)
        elif not _is_complete(task, words, journal):
            incomplete.append(task)
        elif now != before:
            same[number] = now
    journal.confirm(same)
    journal.reopen([task.number for task in (*changed, *incomplete)])
    for found, what in ((changed, "changed since they were done"), (incomplete, "have results that are missing")):
        if found and notice:
            notice(f"images that {what}: {len(found)}, such as {found[0].source}; they are done again")
    return unreadable


def _task(number: int, source: str, names: Names, prompts: PromptFile | None) -> Task | None:
    """Return the task of an image, or None if there are prompts and none for it."""
    if prompts is None or not prompts.images:
        objects = () if prompts is None else tuple(prompts.for_image(source))
        return Task(number, source, Path(source).as_posix(), names, objects)
    known = prompts.name_of(source)
    return None if known is None else Task(number, source, known, names, tuple(prompts.for_image(source)))


def _is_complete(task: Task, words: Sequence[str], journal: Journal) -> bool:
    count = journal.mask_count(task.number) if set(words) & set(PER_MASK) else 0
    return all(path.is_file() for path in files_of(task, words).written(count))
