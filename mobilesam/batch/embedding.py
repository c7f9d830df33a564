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
from mobilesam.batch.tasks import Task, Work
from mobilesam.embedding import embedding_path, save_embedding
from mobilesam.files import unfinished_in
from mobilesam.formats.naming import Names
from mobilesam.model import Embedding


class EmbeddingWork(Work):
    """Load the model and encode images; see :mod:`mobilesam.batch.pipeline`. The result is the path of the file."""

    def __init__(self, choice: ModelChoice, folder: Path, fast_padding: bool, unfinished: Path) -> None:
        self._model = choice.load()
        self._folder, self._fast_padding, self._unfinished = folder, fast_padding, unfinished
        self.encode_batch = self._model.capabilities.encode_batch

    def encode(self, tasks: Sequence[Task], images: Sequence[UInt8Array]) -> list[tuple[Path, Embedding | None]]:
        """Return the path of each embedding, and the embedding unless that file exists."""
        weights_id, fast = self._model.weights_id, self._fast_padding
        paths = [embedding_path(self._folder, image, weights_id, fast_padding=fast) for image in images]
        missing = [place for place, path in enumerate(paths) if not path.exists()]
        embeddings = self._model.encode_batch([images[place] for place in missing], fast_padding=fast)
        made = dict(zip(missing, embeddings, strict=True))
        return [(path, made.get(place)) for place, path in enumerate(paths)]

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
    """Encode images, and yield the path of each with that of its embedding, or with an error text, as they come.

    Embeddings that the folder contains already are not computed again. Several runs may share the folder.

    Args:
        inputs: images, folders, globs and lists, see :func:`mobilesam.batch.sources.find_images`.
        folder: of the embeddings. An embedding is found by the pixels of its image, not by the file name.
        on_warning: called with each warning about an image, once per text.

    The other arguments are those of :class:`mobilesam.batch.SegmentationJob`.

    Raises:
        InputError: an argument is not usable, or a file cannot be written.
    """
    tasks = [
        Task(number, source.path, source.path, Names(folder, Path(source.path).stem))
        for number, source in enumerate(find_images(inputs, folder))
    ]
    bad, seen = 0, set[str]()
    with own_folder(folder) as unfinished:
        make_work = functools.partial(EmbeddingWork, model or ModelChoice(), Path(folder), fast_padding, unfinished)
        with contextlib.closing(run_work(make_work, tasks, workers)) as outcomes:
            for done, outcome in enumerate(outcomes, start=1):
                bad += outcome.error is not None
                if progress:
                    progress(done - bad, len(tasks), bad)
                for text in outcome.warnings:
                    if on_warning and text not in seen:
                        on_warning(text)
                    seen.add(text)
                yield tasks[outcome.number].source, outcome.error or Path(os.fsdecode(outcome.result))


__getattr__ = moved(__name__, {"embed_pictures": "mobilesam.batch.embedding.embed_images"})
