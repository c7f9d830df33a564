"""The tasks of a run, and which images must be processed again on resume."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilesam.batch.fingerprint import Fingerprint, read_again
from mobilesam.batch.journal import BadImage, Journal
from mobilesam.batch.journal_file import Planned
from mobilesam.batch.sources import Source, name_files, name_images
from mobilesam.batch.tasks import Task
from mobilesam.errors import InputError
from mobilesam.formats.image_files import ImageFiles
from mobilesam.formats.masked_image import OBJECT
from mobilesam.formats.naming import Names
from mobilesam.formats.output import PER_MASK
from mobilesam.prompts.file import PromptFile


class Plan(NamedTuple):
    """The tasks of a run, the images without a prompt, and a sentence on images of the prompts that are not given."""

    tasks: list[Task]
    left_out: list[str]
    not_given: list[str]


def plan(sources: Sequence[Source], out: Path, prompts: PromptFile | None, earlier: Sequence[Planned] = ()) -> Plan:
    """Return the tasks of a run.

    Args:
        earlier: the images of the run that is resumed. Those that no longer exist keep their place and name, even if
            the inputs do not name them.

    Raises:
        InputError: no image has a prompt.
    """
    tasks: list[Task] = []
    left_out: list[str] = []
    for source, names, name in zip(sources, name_files(sources, out), name_images(sources), strict=True):
        task = _task(len(tasks), source.path, names, prompts, name)
        if task is None:
            left_out.append(source.path)
        else:
            tasks.append(task)
    given = {task.source for task in tasks}
    not_given = {each.source for each in earlier} - given
    # The journal refuses an image that is new, and one that exists and is not given.
    if given <= {each.source for each in earlier} and not any(map(os.path.isfile, not_given)):
        names_before = [Names((out / each.name).parent, Path(each.name).name) for each in earlier]
        named = name_images([Source(each.source, Path(each.name).parent) for each in earlier])
        again = [_task(i, each.source, names_before[i], prompts, named[i]) for i, each in enumerate(earlier)]
        tasks = [task for task in again if task is not None] or tasks
    if not tasks:
        raise InputError(
            f"The prompts name none of the {len(left_out)} images, such as {left_out[0]!r}. Check the names in the "
            "prompt file."
        )
    images = {prompts.name_of(task.source) for task in tasks} if prompts else set()
    return Plan(tasks, left_out, [] if prompts is None else prompts_without_images(prompts, images))


def coco_ids(tasks: Sequence[Task], prompts: PromptFile | None) -> dict[str, int]:
    """Return the ids that the dataset of the prompts gives to images, by their names in the results."""
    if prompts is None:
        return {}
    known = ((task.file_name, prompts.image_ids.get(prompts.name_of(task.source) or "")) for task in tasks)
    ids = {name: number for name, number in known if number is not None}
    return ids if len(set(ids.values())) == len(ids) else {}


def prompts_without_images(prompts: PromptFile, given: Collection[str | None]) -> list[str]:
    """Return a sentence on the images that have prompts and are not among those given, by their names there."""
    missing = [name for name, objects in prompts.images.items() if objects and name not in given]
    if not missing:
        return []
    where = f"{prompts.files[0]} names" if prompts.files else "The prompts name"
    count = "an image that is" if len(missing) == 1 else f"{len(missing)} images that are"
    such = f"{missing[0]!r}" if len(missing) == 1 else f"such as {missing[0]!r}"
    return [f"{where} {count} not among the images given: {such}. Check the names and the inputs."]


def files_of(task: Task, formats: Sequence[str], labels: Sequence[str] = (OBJECT,)) -> ImageFiles:
    """Return the files of an image; ``labels`` are those of YOLO's classes."""
    return ImageFiles(task.names, formats, True, task.source, task.file_name, labels, task.prompts)


def remove_files(task: Task, formats: Sequence[str]) -> None:
    """Remove the files of an image that has become bad.

    Raises:
        InputError: they cannot be removed.
    """
    try:
        files_of(task, formats).remove()
    except OSError as error:
        raise InputError(f"The files of {task.source} cannot be removed: {error}. Check the folder.") from error


def digest_of_prompts(task: Task) -> str:
    """Return a digest of the prompts of an image, including ``mask_input``, which is not in the text of a prompt."""
    digest = hashlib.sha256(repr([task.file_name, task.prompts]).encode())
    for place, prompt in enumerate(task.prompts):
        if prompt.mask_input is not None:
            digest.update(f"{place} ".encode())
            digest.update(np.asarray(prompt.mask_input, np.float32).tobytes())
    return digest.hexdigest()[:32]


def reopen_changed(
    journal: Journal, tasks: Sequence[Task], formats: Sequence[str], on_warning: Callable[[str], object] | None
) -> list[BadImage]:
    """Reopen the images whose file has changed since they were processed, or whose results are incomplete.

    The bytes of a file are compared if its size or time of modification differ.

    Returns:
        The images that cannot be read now, as on a disk that is not mounted; their results are kept.
    """
    same: dict[int, Fingerprint] = {}
    unreadable, changed, incomplete = list[BadImage](), list[Task](), list[Task]()
    for number, before in journal.fingerprints().items():
        task = tasks[number]
        try:
            now = read_again(task.source, before)
        except OSError as error:
            reason = (
                f"{task.source} can no longer be read ({error.strerror}). Its earlier results are kept. "
                "Restore the file and run again with --resume, or start again with --force."
            )
            unreadable.append(BadImage(task.source, reason))
            continue
        except InputError:
            now = None  # reading it again gives this error
        if now is None or now.sha256 != before.sha256:
            changed.append(task)
        elif not _is_complete(task, formats, journal):
            incomplete.append(task)
        elif now != before:
            same[number] = now
    journal.confirm(same)
    journal.reopen([task.number for task in (*changed, *incomplete)])
    for again, problem in ((changed, "changed since they were processed"), (incomplete, "with missing result files")):
        if again and on_warning:
            on_warning(f"images {problem}: {len(again)}, such as {again[0].source}; they are processed again")
    return unreadable


def _task(number: int, source: str, names: Names, prompts: PromptFile | None, file_name: str) -> Task | None:
    """Return the task of an image, or None if the prompts name other images."""
    if prompts is None:
        return Task(number, source, file_name, names)
    if prompts.images and prompts.name_of(source) is None:
        return None
    return Task(number, source, file_name, names, tuple(prompts.for_image(source)))


def _is_complete(task: Task, formats: Sequence[str], journal: Journal) -> bool:
    count = len(journal.result(task.number).records) if set(formats) & set(PER_MASK) else 0
    return all(path.is_file() for path in files_of(task, formats).written(count))
