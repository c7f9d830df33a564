"""The work of ``mobilesam embed``: encode images, and keep their embeddings in a folder."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from mobilesam import storage
from mobilesam._moved import moved
from mobilesam.arrays import UInt8Array
from mobilesam.batch.folder import own_folder
from mobilesam.batch.journal import BadImage
from mobilesam.batch.listing import Listing, needs_listing
from mobilesam.batch.processes import run_work
from mobilesam.batch.segmentation import ModelChoice
from mobilesam.batch.sources import find_images
from mobilesam.batch.tasks import ListedTask, Task, Work
from mobilesam.embedding import EmbeddingFolder, save_embedding
from mobilesam.files import unfinished_in
from mobilesam.formats.naming import Names
from mobilesam.image.read import image_digest
from mobilesam.model import Embedding
from mobilesam.storage import Place


class EmbeddingWork(Work):
    """Load the model and encode images; see :mod:`mobilesam.batch.pipeline`. The result is the path of the file."""

    def __init__(self, choice: ModelChoice, folder: Place, fast_padding: bool, unfinished: Path | None) -> None:
        self._model = choice.load()
        self._folder, self._fast_padding, self._unfinished = EmbeddingFolder(folder), fast_padding, unfinished
        self._files: dict[int, str] = {}  # the digests of the files of tasks in flight
        self.encode_batch = self._model.capabilities.encode_batch

    def decode(self, task: Task, content: bytes) -> UInt8Array:
        """Return the image, (H, W, 3) uint8 RGB, and remember the digest of its file."""
        image = super().decode(task, content)
        if content:
            self._files[task.number] = hashlib.sha256(content).hexdigest()
        return image

    def encode(self, tasks: Sequence[Task], images: Sequence[UInt8Array]) -> list[tuple[Place, Embedding | None]]:
        """Return the path of each embedding, and the embedding unless that file exists."""
        weights_id, fast = self._model.weights_id, self._fast_padding
        paths = [self._folder.path_of(image_digest(image), weights_id, fast_padding=fast) for image in images]
        missing = [place for place, path in enumerate(paths) if not storage.exists(path)]
        embeddings = self._model.encode_batch([images[place] for place in missing], fast_padding=fast)
        made = dict(zip(missing, embeddings, strict=True))
        return [(path, made.get(place)) for place, path in enumerate(paths)]

    def write(self, task: Task, image: UInt8Array, computed: tuple[Place, Embedding | None]) -> bytes:
        """Write the embedding, and which image the file has."""
        path, embedding = computed
        file = self._files.pop(task.number, None)
        with unfinished_in(self._unfinished):
            if embedding is not None:
                save_embedding(path, embedding, self._model)
            if file is not None:
                self._folder.add_file(file, image_digest(image), (image.shape[0], image.shape[1]))
        return os.fsencode(path)  # also of a URL


def embed_images(
    inputs: Sequence[str],
    folder: Place,
    *,
    model: ModelChoice | None = None,
    fast_padding: bool = False,
    workers: int = 1,
    progress: Callable[[int, int, int], object] | None = None,
    on_warning: Callable[[str], object] | None = None,
) -> Generator[tuple[str, Place | BadImage]]:
    """Encode images, and yield the path of each with that of its embedding, or with a BadImage, as they come.

    Embeddings that the folder contains already are not computed again. Several runs may share the folder.

    Args:
        inputs: images, folders, globs, lists and archives, paths or URLs; see
            :class:`mobilesam.batch.SegmentationJob`.
        folder: of the embeddings, a path or a URL. An embedding is found by the pixels of its image, not by the file
            name.
        progress: called with the number of images done, of all images, and of bad images; the number of all is 0 for
            URLs and archives, whose images are listed during the run.
        on_warning: called with each warning about an image, once per text.

    The other arguments are those of :class:`mobilesam.batch.SegmentationJob`.

    Raises:
        InputError: an argument is not usable, or a file cannot be written.
    """
    folder = storage.place(folder)
    sources: dict[int, str] = {}  # of the tasks in flight
    tasks: Iterable[Task]
    if isinstance(folder, Path) and not needs_listing(inputs, folder):
        tasks = [
            Task(number, source.path, source.path, Names(folder, Path(source.path).stem))
            for number, source in enumerate(find_images(inputs, folder))
        ]
        sources, total = {task.number: task.source for task in tasks}, len(tasks)
    else:
        tasks, total = _listed_tasks(Listing(inputs, folder), sources), 0
    bad, seen = 0, set[str]()
    with own_folder(folder) if isinstance(folder, Path) else contextlib.nullcontext() as unfinished:
        make_work = functools.partial(EmbeddingWork, model or ModelChoice(), folder, fast_padding, unfinished)
        with contextlib.closing(run_work(make_work, tasks, workers)) as outcomes:
            for done, outcome in enumerate(outcomes, start=1):
                bad += outcome.error is not None
                if progress:
                    progress(done - bad, total, bad)
                for text in outcome.warnings:
                    if on_warning and text not in seen:
                        on_warning(text)
                    seen.add(text)
                source = sources.pop(outcome.number)
                if outcome.error is None:
                    yield source, storage.place(os.fsdecode(outcome.result))
                else:
                    yield source, BadImage(source, outcome.error)


def _listed_tasks(listing: Listing, sources: dict[int, str]) -> Iterator[Task]:
    """Yield the tasks of listed images, and add their sources to a dict."""
    numbers = itertools.count()
    for part in listing.parts():
        for image in part:
            number = next(numbers)
            sources[number] = image.source
            yield image.load(ListedTask(number, image.source, image.name, Names(Path(), image.stem)))


__getattr__ = moved(__name__, {"embed_pictures": "mobilesam.batch.embedding.embed_images"})
