"""The work of a server: read and encode images, decode prompts, and keep what was computed.

No HTTP here. An image is known by the digest of its pixels, and is encoded once, whoever opens it; a prompt only runs
the decoder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.embedding import EmbeddingFolder
from mobilesam.image.read import image_digest
from mobilesam.masks.records import MaskRecord, MaskRecords
from mobilesam.masks.upsampling import Frame
from mobilesam.model import Embedding, MaskModel, Wrapped
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import decode, feedback, records_of, supports
from mobilesam.serve.cache import ByteCache
from mobilesam.serve.failures import ExpiredError
from mobilesam.serve.image_files import read_file
from mobilesam.serve.models import Models
from mobilesam.serve.values import CandidateMasks, Client, Encoded, OpenImage
from mobilesam.serve.workers import Workers

# An embedding is 4 MB, and the image-side work of the decoder for it about 15 MB more.
EMBEDDING_BYTES = 20_000_000
_WAITING_CLICKS = 256
_TURN = 8  # prompts that are decoded before it is the turn of the next client

# Parts of --cache-mb, in bytes a megabyte: images, embeddings, and the logits of chosen masks that are fed back, 256 KB
# each; dropped logits are computed again from the steps.
_IMAGES, _EMBEDDINGS, _FEEDBACK = 400_000, 400_000, 30_000


@dataclass(frozen=True)
class Limits:
    """Images encoded or segmented at once, requests waiting, memory, and the largest image file and image."""

    concurrency: int = 2
    waiting: int = 32
    cache_mb: int = 512
    max_upload_mb: int = 50
    max_pixels: int = 50_000_000


class Engine:
    """Models, what they computed, and the threads in which they run; several threads may use it.

    folder: embeddings that are kept on disk; those that are made here are added to it. None keeps them in memory only.
    encode: returns the embedding of an image, (H, W, 3) uint8 RGB, by the model with a name; by default, it is computed
        in this process.
    """

    def __init__(
        self,
        models: Models,
        limits: Limits,
        folder: EmbeddingFolder | None = None,
        encode: Callable[[str, UInt8Array], Embedding] | None = None,
    ) -> None:
        self.models = models
        self.limits = limits
        self.folder = folder
        self._encode_pixels = encode or (lambda name, pixels: models.get(name).encode(pixels))
        self.images: ByteCache[UInt8Array] = ByteCache(limits.cache_mb * _IMAGES)
        self.embeddings: ByteCache[Encoded] = ByteCache(limits.cache_mb * _EMBEDDINGS)
        self.feedback: ByteCache[FloatArray] = ByteCache(limits.cache_mb * _FEEDBACK)
        self.encoders = Workers(limits.concurrency, limits.waiting, "encode")
        self.decoders = Workers(1, _WAITING_CLICKS, "decode")  # a click takes 20 ms; two at once take 40 each
        self.full_size = Workers(1, _WAITING_CLICKS, "full-size")  # masks of the size of the image, a prompt at a time
        self._encoding: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def read(self, content: bytes, name: str) -> OpenImage:
        """Read an image file, and keep its pixels.

        Raises:
            InputError: the content is not an image within the limits.
        """
        pixels, note = read_file(content, name, self.limits.max_pixels)
        image = OpenImage(image_digest(pixels), (pixels.shape[0], pixels.shape[1]), name, note)
        self.images.put(image.digest, pixels, pixels.nbytes)
        return image

    def pixels(self, image: OpenImage) -> UInt8Array:
        """Return an image, (H, W, 3) uint8 RGB.

        Raises:
            ExpiredError: it was dropped.
        """
        pixels = self.images.get(image.digest)
        if pixels is None:
            raise ExpiredError("The image is no longer in memory. Open it again.")
        return pixels

    def encode(self, name: str, image: OpenImage) -> Encoded:
        """Return the embedding of an image by a model, in this thread; requests for the same one share the work.

        Raises:
            ExpiredError: the image was dropped.
        """
        key = (name, image.digest)
        with self._lock:
            lock = self._encoding.setdefault(key, threading.Lock())
        try:
            with lock:
                encoded = self.embeddings.get(key)
                if encoded is None:
                    encoded = self._encode(name, image)
                    self.embeddings.put(key, encoded, EMBEDDING_BYTES)
                return encoded
        finally:
            with self._lock:
                self._encoding.pop(key, None)

    def encoded(self, name: str, image: OpenImage, client: Client) -> Encoded:
        """Return the embedding of an image by a model, which is computed in the queue of the encoders if necessary.

        Raises:
            ExpiredError: the image was dropped.
            BusyError: the queue is full.
            LeftError: the client is no longer connected.
        """

        def work() -> Encoded:
            client.check()
            return self.encode(name, image)

        return self.embeddings.get((name, image.digest)) or self.encoders.run(work, client.name)

    def half_embedding(self, name: str, image: OpenImage, client: Client) -> bytes:
        """Return the embedding of an image as little-endian float16, (256, 64, 64), 2 MB.

        Raises:
            ExpiredError, BusyError, LeftError: as :meth:`encoded`.
        """
        features = self.models.get(name).dump_features(self.encoded(name, image, client).embedding.features)
        return features.astype("<f2").tobytes()

    def candidates(
        self, name: str, image: OpenImage, prompts: Sequence[ObjectPrompt], select: str | None, client: Client
    ) -> list[CandidateMasks]:
        """Return the candidate masks of each prompt: all of the decoder if one of them is selected, else one.

        Args:
            name: of the model.
            select: as for :func:`mobilesam.segment.segment_objects`.

        Raises:
            InputError: a prompt cannot be used.
            ExpiredError, BusyError, LeftError: as :meth:`encoded`.
        """
        embedding, model = self.encoded(name, image, client).embedding, self.models.get(name)

        def work(part: Sequence[ObjectPrompt]) -> list[CandidateMasks]:
            client.check()
            start = time.perf_counter()
            ready = [self._with_feedback(name, image, prompt, model, embedding) for prompt in part]
            decoded = list(decode(model, embedding, ready, select))
            ms = 1000 * (time.perf_counter() - start)
            return [CandidateMasks(masks, embedding.input_hw, ms) for masks in decoded]

        parts = [prompts[start : start + _TURN] for start in range(0, len(prompts), _TURN)]
        return [each for part in parts for each in self.decoders.run(partial(work, part), client.name)]

    def segment(
        self, name: str, image: OpenImage, prompts: Sequence[ObjectPrompt], select: str | None, client: Client
    ) -> Iterator[list[MaskRecord]]:
        """Yield the records of each prompt; arguments, errors and records are those of :meth:`candidates` and
        :func:`mobilesam.segment.segment_objects`.
        """
        model = self.models.get(name)

        def work(part: Sequence[ObjectPrompt], decoded: Sequence[CandidateMasks]) -> list[list[MaskRecord]]:
            client.check()
            return [
                records_of(
                    prompt,
                    each.masks,
                    Frame(each.input_hw, image.hw, model.image_size),
                    model.mask_threshold,
                    select,
                )
                for prompt, each in zip(part, decoded, strict=True)
            ]

        for start in range(0, len(prompts), _TURN):
            part = prompts[start : start + _TURN]
            decoded = self.candidates(name, image, part, select, client)
            yield from self.full_size.run(partial(work, part, decoded), client.name)

    def everything(
        self,
        name: str,
        image: OpenImage,
        settings: Mapping[str, Any],
        progress: Callable[[int, int, int], object],
        canceled: threading.Event,
    ) -> MaskRecords:
        """Segment everything in an image, in this thread.

        Args:
            settings: of :class:`mobilesam.automatic.SamAutomaticMaskGenerator`, without crops.
            progress: called with the number of points done, of all points, and of masks so far.
            canceled: ends the run with the masks so far.

        Returns:
            Records with uncompressed RLEs.

        Raises:
            InputError: a setting cannot be used.
            ExpiredError: the image was dropped.
        """
        # The generator encodes an image and uses its size; the pixels are not needed where there is an embedding.
        pixels = np.broadcast_to(np.uint8(0), (*image.hw, 3))
        model = _Encoded(self.models.get(name), self.encode(name, image).embedding)
        generator = SamAutomaticMaskGenerator(model, output_mode="uncompressed_rle", **settings)
        return generator.generate(pixels, progress=progress, cancel=canceled)

    @property
    def cached_bytes(self) -> int:
        """Bytes of images, embeddings and logits in memory."""
        return self.images.used + self.embeddings.used + self.feedback.used

    def close(self, wait: bool = True) -> None:
        """Stop the workers; with ``wait``, return when the running work has ended."""
        for workers in (self.encoders, self.decoders, self.full_size):
            workers.close(wait)

    def _with_feedback(
        self, name: str, image: OpenImage, prompt: ObjectPrompt, model: MaskModel, embedding: Embedding
    ) -> ObjectPrompt:
        """Return a prompt with the logits of its last step, which are kept for the next prompt of the object."""
        if not (prompt.steps and supports(model, prompt)):
            return prompt
        key = (name, image.digest, prompt.steps)
        logits = self.feedback.get(key)
        if logits is None:
            logits = feedback(model, embedding, prompt.steps)
            self.feedback.put(key, logits, logits.nbytes)
        return replace(prompt, mask_input=logits)

    def _encode(self, name: str, image: OpenImage) -> Encoded:
        model = self.models.get(name)
        start = time.perf_counter()
        embedding = None if self.folder is None else self.folder.find(image.digest, model)
        if embedding is None:
            embedding = self._encode_pixels(name, self.pixels(image))
            if self.folder is not None:
                self.folder.save(embedding, model)
        return Encoded(embedding, 1000 * (time.perf_counter() - start))


class _Encoded(Wrapped):
    """A model with the embedding of one image, which it does not encode again."""

    def __init__(self, model: MaskModel, embedding: Embedding) -> None:
        super().__init__(model)
        self._embedding = embedding

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        assert image.shape[:2] == self._embedding.original_hw, "no crops are encoded here"
        return self._embedding
