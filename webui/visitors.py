"""The visitors' states, each behind a token that nobody can guess.

A token is handed out once, to the page that asked for it, and is the only way to a picture: digests, which two
visitors of the same picture share, are never accepted from outside.

States are bounded in number, in bytes and in age. Where there are too many visitors, those without an image give way
first: a flood of new ones never reaches a visitor who is at work. Copies of one session, as of a page that is reloaded,
are few, so that they do not either. Where the states take too many bytes, masks that the model can compute again go
before sessions.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from mobilesam.errors import InputError, MobileSamError, sentence
from mobilesam.webui.session import Session, ShownImage
from mobilesam.webui.sizes import size_of

MAX_VISITORS = 2000
MAX_COPIES = 8  # of one session, itself included
MAX_BYTES = 100_000_000
MAX_IDLE = 2 * 60 * 60.0  # seconds


class GoneError(MobileSamError):
    """The session expired or the image was dropped; the page opens it again."""


class _Visitor:
    """family: the token of the first session that this one is a copy of, or its own."""

    def __init__(self, session: Session, used: float, family: str) -> None:
        self.session = session
        self.family = family
        self.used = used
        self.size = size_of(session)
        self.lock = threading.Lock()


class Visitors:
    """The states of visitors, within limits.

    limit: visitors. limit_bytes: of all states together; the state that changed last always stays. max_idle: seconds
    from its last use to the end of a session. clock: tells the time, in seconds.
    """

    def __init__(
        self,
        limit: int = MAX_VISITORS,
        limit_bytes: int = MAX_BYTES,
        max_idle: float = MAX_IDLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.max_idle = max_idle
        self._clock = clock
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()  # the one unused for longest first
        self._bytes = 0
        self._lock = threading.Lock()

    def admit(self, session: Session) -> str:
        """Return a new visitor's token."""
        return self._add(session, None)

    def copy(self, token: object) -> str:
        """Return the token of a new visitor with the state of another, without its segments.

        There are at most MAX_COPIES of a session; the least recently used is forgotten first.

        Raises:
            GoneError: there is no such visitor.
        """
        visitor = self._find(token)
        return self._add(replace(visitor.session, segments=(), run=0), visitor.family)

    def session(self, token: object) -> Session:
        """Return a visitor's state.

        Raises:
            GoneError: there is no such visitor.
        """
        return self._find(token).session

    def change(self, token: object, step: Callable[[Session], Session]) -> Session:
        """Replace a visitor's state by what ``step`` makes of it; steps of one visitor never overlap.

        Raises:
            GoneError: there is no such visitor.
        """
        visitor = self._find(token)
        with visitor.lock:
            session = visitor.session = step(visitor.session)
            size = size_of(session)
            with self._lock:
                if self._visitors.get(str(token)) is visitor:
                    self._bytes += size - visitor.size
                    visitor.size = size
                    self._make_room(str(token))
        return session

    def _add(self, session: Session, family: str | None) -> str:
        token = secrets.token_urlsafe(18)
        visitor = _Visitor(session, self._clock(), family or token)
        with self._lock:
            alike = [other for other, each in self._visitors.items() if each.family == family]
            if len(alike) >= MAX_COPIES:
                self._forget(alike[0])
            self._visitors[token] = visitor
            self._bytes += visitor.size
            self._make_room(token)
        return token

    @property
    def used(self) -> int:
        """Bytes of all states."""
        with self._lock:
            self._expire()
            return self._bytes

    def _find(self, token: object) -> _Visitor:
        with self._lock:
            self._expire()
            visitor = self._visitors.get(token) if isinstance(token, str) else None
            if visitor is None:
                raise GoneError("The session expired. Open the image again.")
            self._visitors.move_to_end(str(token))
            visitor.used = self._clock()
            return visitor

    def _expire(self) -> None:
        before = self._clock() - self.max_idle
        while self._visitors and (oldest := next(iter(self._visitors.items())))[1].used < before:
            self._forget(oldest[0])

    def _make_room(self, newest: str) -> None:
        """Forget visitors where there are too many, or too many bytes, but not the newest."""
        if len(self._visitors) > self.limit:
            others = [token for token in self._visitors if token != newest]
            idle = (token for token in others if self._visitors[token].session.image is None)
            self._forget(next(idle, others[0]))
        if self._bytes > self.limit_bytes:
            for shrink in (self._drop_answer, self._forget):
                for token in [token for token in self._visitors if token != newest]:
                    if self._bytes > self.limit_bytes and self._visitors[token].session.image is not None:
                        shrink(token)

    def _drop_answer(self, token: str) -> None:
        """Drop the masks of a state, unless it is being changed."""
        visitor = self._visitors[token]
        if visitor.session.answer is not None and visitor.lock.acquire(blocking=False):
            try:
                visitor.session = replace(visitor.session, answer=None)
                size = size_of(visitor.session)
                self._bytes += size - visitor.size
                visitor.size = size
            finally:
                visitor.lock.release()

    def _forget(self, token: str) -> None:
        self._bytes -= self._visitors.pop(token).size

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._visitors)


def showing(session: Session, image_key: object) -> Session:
    """Return a state if its picture is the one that is meant, else raise GoneError."""
    open_key = "" if session.image is None else session.image.key
    if image_key is not None and image_key != open_key:
        raise GoneError("Another image was opened in this session. Open this image again to continue.")
    return session


def open_image(session: Session) -> ShownImage:
    """Return the picture of a state, or raise InputError if there is none."""
    if session.image is None:
        raise InputError(sentence("a picture", "be open", "none", "open one first"))
    return session.image
