"""What the page and the endpoints do: open a picture, answer prompts, segment everything.

No HTTP and no Gradio here. A picture is encoded once, whoever opens it; a click only runs the decoder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.image.read import count_frames, image_digest, read_image
from mobilesam.model import Embedding
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import decode, feedback, supports
from mobilesam.webui import session as states
from mobilesam.webui.cache import ByteCache
from mobilesam.webui.models import Models
from mobilesam.webui.session import Answer, Session, ShownImage
from mobilesam.webui.visitors import GoneError, Visitors, open_image, showing
from mobilesam.webui.workers import Job, Workers

# An embedding is 4 MB, and the decoder's image-side work for it about 15 MB more.
_EMBEDDING_BYTES = 20_000_000
_WAITING_CLICKS = 256
_ATTEMPTS = 4  # to get masks for a state that changes meanwhile

# Parts of --cache-mb, in bytes a megabyte: images, embeddings, the visitors' states, and the logits that chosen masks
# feed back, 256 KB each; those that are dropped are computed from the steps.
_IMAGES, _EMBEDDINGS, _STATES, _FEEDBACK = 400_000, 400_000, 170_000, 30_000


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


class Service:
    """Everything behind the page; several threads may use it."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models = models
        self.limits = limits
        self.visitors = Visitors(limit_bytes=limits.cache_mb * _STATES)
        self.images: ByteCache[UInt8Array] = ByteCache(limits.cache_mb * _IMAGES)
        self.embeddings: ByteCache[_Encoded] = ByteCache(limits.cache_mb * _EMBEDDINGS)
        self.feedback: ByteCache[FloatArray] = ByteCache(limits.cache_mb * _FEEDBACK)
        self.encoders = Workers(limits.concurrency, limits.waiting, "encode")
        self.decoders = Workers(1, _WAITING_CLICKS, "decode")  # a click takes 20 ms; two at once take 40 each
        self.savers = Workers(1, limits.waiting, "save")  # one image of full size in memory at a time
        self.previews = Workers(1, limits.waiting, "preview")
        self._encoding: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def admit(self, model: str | None = None) -> str:
        """Return a new visitor's token; the default model answers unless another is named."""
        return self.visitors.admit(Session(model or self.models.default))

    def open(self, token: str, content: bytes, name: str, on_image: Callable[[Session], object]) -> Job[Opened]:
        """Put a picture file into the queue to be read and encoded for a visitor.

        Until it is read, and for good if it cannot be, the earlier picture stays. ``on_picture`` is called when it is
        read and can be shown.

        Raises:
            GoneError: there is no such visitor.
            BusyError: the queue is full.
        The job raises InputError if the content is no picture that can be used.
        """
        self.visitors.session(token)

        def work() -> Opened:
            image = read_image(content, max_pixels=self.limits.max_pixels)
            hw = (image.shape[0], image.shape[1])
            frames = count_frames(content)
            note = f"The first of {frames} frames is shown." if frames > 1 else ""
            picture = ShownImage(image_digest(image), hw, name, note)
            self.images.put(picture.digest, image, image.nbytes)
            session = self.visitors.change(token, lambda state: states.opened(state, picture))
            on_image(session)
            return Opened(session, self._encode(session).ms)

        return self.encoders.submit(work)

    def switch(self, token: str, model: object, image_key: object = None) -> Job[Opened]:
        """Let another model answer: load it, encode the picture if there is one, and then take its answers.

        Raises:
            InputError: there is no such model.
            GoneError, BusyError: as :meth:`open`, or the picture is another than ``picture_key`` says.
        """
        name = self.models.check(model)
        asked = states.with_model(self.session(token, image_key), name)

        def work() -> Opened:
            self.models.get(name)
            ms = self._encode(asked).ms if asked.image is not None else 0.0
            session = self.visitors.change(token, lambda state: states.with_model(state, name))
            return Opened(showing(session, image_key), ms)

        return self.encoders.submit(work)

    def session(self, token: object, image_key: object = None) -> Session:
        """Return a visitor's state.

        Args:
            picture_key: of the picture that the visitor means, "" for none; by default whichever is open.

        Raises:
            GoneError: there is no such visitor, or another picture is open.
        """
        return showing(self.visitors.session(token), image_key)

    def act(self, token: str, actions: Iterable[Any], image_key: object = None) -> Session:
        """Apply actions, all or none, and return the state with the masks for its prompt.

        Raises:
            InputError: an action cannot be applied.
            GoneError: the visitor or the picture is no longer known, or the picture is another than ``picture_key``
                says; nothing is applied to that one.
            BusyError: the queue is full; nothing is applied.
        """
        actions = list(actions)
        if any(isinstance(action, Mapping) and action.get("do") == "choose" for action in actions):
            self.with_answer(token, image_key)
        before: Session | None = None

        def step(state: Session) -> Session:
            nonlocal before
            before = state = showing(state, image_key)
            for action in actions:
                after = states.apply(state, action)
                self._keep_feedback(state, after)
                state = after
            return self._supported(states.trimmed(state))

        after = self.visitors.change(token, step)
        try:
            return self.with_answer(token, image_key)
        except Exception:
            with suppress(GoneError):
                self.visitors.change(token, lambda state: before if before and state is after else state)
            raise

    def with_answer(self, token: str, image_key: object = None) -> Session:
        """Return a visitor's state with the masks for its prompt; the model is asked if there are none.

        They are missing if the prompt does not say where the object is, or if the state changes all the time.

        Raises:
            GoneError, BusyError: as :meth:`act`.
        """
        state = self.session(token, image_key)
        for _ in range(_ATTEMPTS):
            if state.answer is not None or not state.prompt.has_object:
                break
            asked = self._supported(state)
            answer = self.ask(asked, asked.prompt)

            take = partial(_with_answer, before=state, prompt=asked.prompt, answer=answer)
            state = showing(self.visitors.change(token, take), image_key)
        return state

    def _supported(self, state: Session) -> Session:
        """Return a state whose prompt the model supports: without steps, if it cannot follow them."""
        refined = state.prompt.refines or state.prompt.chosen is not None
        if refined and not supports(self.models.get(state.model), state.prompt):
            return states.without_steps(state)
        return state

    def ask(self, session: Session, prompt: ObjectPrompt) -> Answer:
        """Return the model's candidate masks for a prompt: three where it is ambiguous, else one.

        Raises:
            InputError: the prompt does not say where the object is.
            GoneError: the picture is no longer known.
            BusyError: the queue is full.
        """
        embedding = self.embedding(session)
        model = self.models.get(session.model)

        def work() -> Answer:
            start = time.perf_counter()
            ready = prompt
            if prompt.steps:
                key = self._feedback_key(session, prompt.steps)
                logits = self.feedback.get(key)
                if logits is None:
                    logits = feedback(model, embedding, prompt.steps)
                    self.feedback.put(key, logits, logits.nbytes)
                ready = replace(prompt, mask_input=logits)
            (found,) = decode(model, embedding, [ready])
            ms = 1000 * (time.perf_counter() - start)
            three = found.three(prompt.chosen)
            scores = tuple(map(float, three.iou_predictions))
            return Answer(three.low_res_logits, scores, embedding.input_hw, three.indices, three.best, ms)

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

    def image(self, session: Session) -> UInt8Array:
        """Return a session's picture, (H, W, 3) uint8 RGB.

        Raises:
            GoneError: it is no longer in memory.
            InputError: there is none.
        """
        found = self.images.get(open_image(session).digest)
        if found is None:
            raise GoneError("The image is no longer in memory. Open it again.")
        return found

    def close(self, wait: bool = True) -> None:
        """Stop the workers and, if asked to, wait for what they have begun."""
        self.encoders.close(wait)
        self.decoders.close(wait)
        self.savers.close(wait)
        self.previews.close(wait)

    def _encode(self, session: Session) -> _Encoded:
        """Return the picture's embedding; two visitors who need it make it once."""
        key = self._key(session)
        with self._lock:
            lock = self._encoding.setdefault(key, threading.Lock())
        try:
            with lock:
                encoded = self.embeddings.get(key)
                if encoded is None:
                    image, model = self.image(session), self.models.get(session.model)
                    start = time.perf_counter()
                    embedding = model.encode(image)
                    encoded = _Encoded(embedding, 1000 * (time.perf_counter() - start))
                    self.embeddings.put(key, encoded, _EMBEDDING_BYTES)
                return encoded
        finally:
            with self._lock, suppress(KeyError):
                del self._encoding[key]

    def _key(self, session: Session) -> tuple[str, str]:
        return session.model, open_image(session).digest

    def _keep_feedback(self, before: Session, after: Session) -> None:
        """Keep the logits of a chosen mask that an action made a step."""
        if (
            before.answer is None
            or before.prompt.chosen is None
            or after.prompt.steps != states.steps_to(before.prompt)
        ):
            return
        logits = before.answer.low_res_logits[before.chosen][None].copy()
        self.feedback.put(self._feedback_key(before, after.prompt.steps), logits, logits.nbytes)

    def _feedback_key(self, session: Session, steps: tuple[ObjectPrompt, ...]) -> tuple[object, ...]:
        return *self._key(session), steps


def _with_answer(state: Session, before: Session, prompt: ObjectPrompt, answer: Answer) -> Session:
    """Take an answer, unless the state is no longer the one that it is for."""
    return states.answered(replace(state, prompt=prompt), answer) if state == before else state
