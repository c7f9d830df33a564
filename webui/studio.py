"""What the page and the endpoints do: open a picture, answer prompts, segment everything.

No HTTP and no Gradio here. A picture is encoded once, whoever opens it; a click only runs the decoder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mobilesam.errors import InputError, sentence
from mobilesam.image import count_frames, image_digest, read_image
from mobilesam.model import Embedding
from mobilesam.prompt_file import ObjectPrompt
from mobilesam.prompts import make_prompts
from mobilesam.selection import choose
from mobilesam.webui import session as states
from mobilesam.webui.cache import ByteCache
from mobilesam.webui.models import Models
from mobilesam.webui.session import Answer, Picture, Session
from mobilesam.webui.visitors import GoneError, Visitors
from mobilesam.webui.workers import Job, Workers

UInt8Array = npt.NDArray[np.uint8]

# An embedding is 4 MB, and the decoder's image-side work for it about 15 MB more.
_EMBEDDING_BYTES = 20_000_000
_WAITING_CLICKS = 256

# Parts of --cache-mb, in bytes a megabyte: what is computed for images, and the visitors' states.
_IMAGES, _EMBEDDINGS, _STATES = 400_000, 400_000, 200_000


@dataclass(frozen=True)
class Limits:
    """What the server grants: pictures at work at once, waiting for that, kept, and how large one may be."""

    concurrency: int = 2
    waiting: int = 32
    cache_mb: int = 512
    max_upload_mb: int = 50
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class Opened:
    """A session with its picture open, and how long its picture took to be encoded, now or when it first was."""

    session: Session
    encode_ms: float


class _Encoded(NamedTuple):
    embedding: Embedding
    ms: float


class Studio:
    """Everything behind the page; several threads may use it."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models = models
        self.limits = limits
        self.visitors = Visitors(limit_bytes=limits.cache_mb * _STATES)
        self.pictures: ByteCache[UInt8Array] = ByteCache(limits.cache_mb * _IMAGES)
        self.embeddings: ByteCache[_Encoded] = ByteCache(limits.cache_mb * _EMBEDDINGS)
        self.encoders = Workers(limits.concurrency, limits.waiting, "encode")
        self.decoders = Workers(1, _WAITING_CLICKS, "decode")  # a click takes 20 ms; two at once take 40 each
        self.savers = Workers(1, limits.waiting, "save")  # one image of full size in memory at a time
        self._encoding: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def admit(self, model: str | None = None) -> str:
        """Return a new visitor's token; the default model answers unless another is named."""
        return self.visitors.admit(Session(model or self.models.default))

    def open(self, token: str, content: bytes, name: str, on_picture: Callable[[Session], object]) -> Job[Opened]:
        """Put a picture file in line to be read and encoded for a visitor.

        Until it is read, and for good if it cannot be, the earlier picture stays. ``on_picture`` is called when it is
        read and can be shown.

        Raises:
            GoneError: there is no such visitor.
            BusyError: the line is full.
        The job raises InputError if the content is no picture that can be used.
        """
        self.visitors.session(token)

        def work() -> Opened:
            image = read_image(content, max_pixels=self.limits.max_pixels)
            hw = (image.shape[0], image.shape[1])
            picture = Picture(image_digest(image), hw, name, _note(content))
            self.pictures.put(picture.digest, image, image.nbytes)
            session = self.visitors.change(token, lambda state: states.opened(state, picture))
            on_picture(session)
            return Opened(session, self._encode(session).ms)

        return self.encoders.submit(work)

    def switch(self, token: str, model: object) -> Job[Opened]:
        """Let another model answer: load it, encode the picture if there is one, and then take its answers.

        Raises:
            InputError: there is no such model.
            GoneError, BusyError: as :meth:`open`.
        """
        name = self.models.check(model)
        asked = states.with_model(self.visitors.session(token), name)

        def work() -> Opened:
            self.models.get(name)
            ms = self._encode(asked).ms if asked.picture is not None else 0.0
            return Opened(self.visitors.change(token, lambda state: states.with_model(state, name)), ms)

        return self.encoders.submit(work)

    def act(self, token: str, actions: Iterable[Any], picture_key: object = None) -> Session:
        """Apply actions, all or none, and let the model answer what they come to.

        Actions on a picture that is no longer open, as ``picture_key`` tells, are left out.

        Raises:
            InputError: an action cannot be applied.
            GoneError: the visitor or the picture is no longer known.
        """

        def step(state: Session) -> Session:
            if picture_key is not None and state.picture is not None and state.picture.key != picture_key:
                return state
            for action in actions:
                state = states.apply(state, action)
            return states.trimmed(state)

        session = self.visitors.change(token, step)
        if session.prompt == states.NOTHING or session.answer is not None:
            return session
        answer = self.ask(session, session.prompt)
        asked = (session.picture, session.prompt, session.model)

        def take(state: Session) -> Session:
            return states.answered(state, answer) if (state.picture, state.prompt, state.model) == asked else state

        self.visitors.change(token, take)
        return states.answered(session, answer)

    def ask(self, session: Session, prompt: ObjectPrompt) -> Answer:
        """Return the model's answer to a prompt: three readings where it is ambiguous, else one.

        Raises:
            GoneError: the picture is no longer known.
            BusyError: the line is full.
        """
        embedding = self.embedding(session)
        model = self.models.get(session.model)
        prompts, _ = make_prompts(**prompt.arguments(), original_hw=embedding.original_hw, input_hw=embedding.input_hw)
        wanted = None if prompt.ambiguous else False

        def work() -> Answer:
            start = time.perf_counter()
            decoded = model.decode(embedding, prompts, wanted)
            ms = 1000 * (time.perf_counter() - start)
            answer = readings(decoded.low_res_logits[0], decoded.iou_predictions[0], embedding.input_hw)
            return replace(answer, decode_ms=ms)

        return self.decoders.run(work)

    def embedding(self, session: Session) -> Embedding:
        """Return the embedding of a session's picture, encoding it again if it was dropped.

        Raises:
            GoneError: the picture is no longer known.
            InputError: there is no picture.
        """
        found = self.embeddings.get(self._key(session))
        return self.encoders.run(lambda: self.embedding_here(session)) if found is None else found.embedding

    def embedding_here(self, session: Session) -> Embedding:
        """As :meth:`embedding`, in this thread instead of an encoder's: for work that runs in one."""
        return self._encode(session).embedding

    def picture(self, session: Session) -> UInt8Array:
        """Return a session's picture, (H, W, 3) uint8 RGB.

        Raises:
            GoneError: it is no longer in memory.
            InputError: there is none.
        """
        found = self.pictures.get(_open_picture(session).digest)
        if found is None:
            raise GoneError("The image is no longer in memory. Open it again.")
        return found

    def close(self, wait: bool = True) -> None:
        """Stop the workers and, if asked to, wait for what they have begun."""
        self.encoders.close(wait)
        self.decoders.close(wait)
        self.savers.close(wait)

    def _encode(self, session: Session) -> _Encoded:
        """Return the picture's embedding; two visitors who need it make it once."""
        key = self._key(session)
        with self._lock:
            lock = self._encoding.setdefault(key, threading.Lock())
        try:
            with lock:
                encoded = self.embeddings.get(key)
                if encoded is None:
                    image, model = self.picture(session), self.models.get(session.model)
                    start = time.perf_counter()
                    embedding = model.encode(image)
                    encoded = _Encoded(embedding, 1000 * (time.perf_counter() - start))
                    self.embeddings.put(key, encoded, _EMBEDDING_BYTES)
                return encoded
        finally:
            with self._lock, suppress(KeyError):
                del self._encoding[key]

    def _key(self, session: Session) -> tuple[str, str]:
        return session.model, _open_picture(session).digest


def readings(
    low_res_logits: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], input_hw: tuple[int, int]
) -> Answer:
    """Return three of the model's four masks, or its only one, among them the one that ``mobilesam predict`` keeps.

    The single-mask answer resembles one of the three readings; where it is the best, it takes that one's place.

    Args:
        low_res_logits: (4, 256, 256), the single-mask answer first, or (1, 256, 256). scores: (4,) or (1,).
    """
    best = choose("agreement", low_res_logits, scores)
    kept = list(range(len(scores)))
    if len(kept) > 1 and best == 0:
        masks = low_res_logits > 0
        alike = [np.mean(masks[0] == mask) for mask in masks[1:]]
        kept[1 + int(np.argmax(alike))] = 0
    kept = kept[1:] or kept
    return Answer(low_res_logits[kept], tuple(float(scores[index]) for index in kept), input_hw, kept.index(best))


def _note(content: bytes) -> str:
    """Return what the visitor should know of how a picture file, which can be read, was read."""
    frames = count_frames(content)
    return f"The first of {frames} frames is shown." if frames > 1 else ""


def _open_picture(session: Session) -> Picture:
    if session.picture is None:
        raise InputError(sentence("a picture", "be open", "none", "open one first"))
    return session.picture
