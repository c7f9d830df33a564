"""The work of ``mobilesam embed``: encode images, and keep their embeddings in a folder."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from mobilesam._moved import moved
from mobilesam.arrays import UInt8Array
from mobilesam.batch.folder import own_folder
from mobilesam.batch.processes import run_work
from mobilesam.batch.segmentation import ModelChoice
from mobilesam.batch.sources import find_images
from mobilesam.batch.tasks import ImageWork, Outcome, Task
from mobilesam.embedding import embedding_path, save_embedding
from mobilesam.files import unfinished_in
from mobilesam.formats.naming import Names
from mobilesam.model import Embedding, MaskModel


class EmbeddingWork(ImageWork):
    """Work for :mod:`mobilesam.batch.pipeline`; the result is the file's name."""

    def __init__(self, model: MaskModel, folder: Path, fast_padding: bool, unfinished: Path | None = None) -> None:
        self._model, self._folder, self._fast_padding, self._unfinished = model, folder, fast_padding, unfinished

    def compute(self, task: Task, image: UInt8Array) -> tuple[Path, Embedding | None]:
        """Return the embedding and its path; none if it is there already."""
        path = embedding_path(self._folder, image, self._model.weights_id, fast_padding=self._fast_padding)
        return path, None if path.exists() else self._model.encode(image, fast_padding=self._fast_padding)

    def write(self, task: Task, image: UInt8Array, computed: tuple[Path, Embedding | None]) -> bytes:
        """Write the embedding."""
        path, embedding = computed
        if embedding is not None:
            with unfinished_in(self._unfinished):
                save_embedding(path, embedding, self._model)
        return os.fsencode(path)


def embed_images(
    inputs: Sequence[str],
    folder: Path,
    *,
    model: ModelChoice | None = None,
    fast_padding: bool = False,
    workers: int = 1,
    progress: Callable[[int, int, int], object] | None = None,
    on_warning: Callable[[str], object] | None = None,
) -> Generator[tuple[str, Path | str]]:
    """Encode images, and yield for each its name and the file of its embedding, or why there is none, as they come.

    What is in the folder already is not made again. Several runs may share the folder.

    Args:
        inputs: images, folders, globs and lists, see :func:`mobilesam.batch.sources.find_images`.
        folder: to hold the embeddings; they are found there by the image's pixels, whatever it is called.
        on_warning: called with each warning about an image, each text once.

    The other arguments are those of :class:`mobilesam.batch.SegmentationJob`.

    Raises:
        InputError: an argument is not usable, or a file cannot be written.
    """
    tasks = [
        Task(number, source.path, source.path, Names(folder, Path(source.path).stem))
        for number, source in enumerate(find_images(inputs, folder))
    ]
    bad, told = 0, set[str]()
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(own_folder(folder))
        make_work = functools.partial(_make_work, model or ModelChoice(), Path(folder), fast_padding, own)
        outcomes = stack.enter_context(contextlib.closing(run_work(make_work, tasks, workers)))
        for done, outcome in enumerate(outcomes, start=1):
            bad += outcome.error is not None
            if progress:
                progress(done - bad, len(tasks), bad)
            for text in outcome.notices:
                if on_warning and text not in told:
                    on_warning(text)
                told.add(text)
            yield tasks[outcome.number].source, _answer(outcome)


def _make_work(choice: ModelChoice, folder: Path, fast_padding: bool, unfinished: Path) -> EmbeddingWork:
    return EmbeddingWork(choice.load(), folder, fast_padding, unfinished)


def _answer(outcome: Outcome) -> Path | str:
    return Path(os.fsdecode(outcome.result)) if outcome.error is None else outcome.error


__getattr__ = moved(__name__, {"embed_pictures": "mobilesam.batch.embedding.embed_images"})
