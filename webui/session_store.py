"""The store of sessions, each under a token that cannot be guessed.

A token is sent once, to the page that requested it, and is the only way to its session. Digests, which two clients
with the same image share, are never accepted in requests.

Sessions are limited in number, in bytes and in age. When there are too many, those without an image are dropped first,
so that a flood of new sessions does not displace one in use. For the same reason a session has few copies, as they
arise when a page is reloaded.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mobilesam.serve.failures import ExpiredError
from mobilesam.webui.session import Session
from mobilesam.webui.sizes import size_of

MAX_SESSIONS = 2000
MAX_COPIES = 8  # of one session, itself included
MAX_BYTES = 100_000_000
MAX_IDLE = 2 * 60 * 60.0  # seconds


class SessionExpiredError(ExpiredError):
    """The session expired, or the image of the request is no longer open in it. The page opens its image again."""


@dataclass(eq=False)
class _Entry:
    """family: the token of the session that this one is a copy of, or its own."""

    session: Session
    family: str
    used: float
    size: int
    lock: threading.Lock = field(default_factory=threading.Lock)


class SessionStore:
    """Sessions by token, within limits.

    limit: the number of sessions. limit_bytes: of all sessions together; the session that changed last is always kept.
    max_idle: seconds from the last use of a session until it expires. clock: returns the time in seconds.
    """

    def __init__(
        self,
        limit: int = MAX_SESSIONS,
        limit_bytes: int = MAX_BYTES,
        max_idle: float = MAX_IDLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.max_idle = max_idle
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()

    def create(self, session: Session, family: str | None = None) -> str:
        """Return the token of a new session; ``family`` is that of the session that it is a copy of."""
        token = secrets.token_urlsafe(18)
        entry = _Entry(session, family or token, self._clock(), size_of(session))
        with self._lock:
            copies = [other for other, each in self._entries.items() if each.family == family]
            if len(copies) >= MAX_COPIES:
                del self._entries[copies[0]]
            self._entries[token] = entry
            self._make_room(token)
        return token

    def copy(self, token: object) -> str:
        """Return the token of a copy of a session, without its segments.

        There are at most MAX_COPIES of a session; the least recently used one is dropped first.

        Raises:
            SessionExpiredError: the token is unknown.
        """
        entry = self._find(token)
        return self.create(replace(entry.session, segments=(), run=0), entry.family)

    def get(self, token: object) -> Session:
        """Return the state of a session.

        Raises:
            SessionExpiredError: the token is unknown.
        """
        return self._find(token).session

    def change(self, token: object, step: Callable[[Session], Session]) -> Session:
        """Replace the state of a session by ``step(state)``, one step of a session at a time, and return it.

        Raises:
            SessionExpiredError: the token is unknown.
        """
        entry = self._find(token)
        with entry.lock:
            session = entry.session = step(entry.session)
            entry.size = size_of(session)
            with self._lock:
                if self._entries.get(str(token)) is entry:
                    self._make_room(str(token))
        return session

    @property
    def used(self) -> int:
        """The bytes of all sessions."""
        with self._lock:
            self._expire()
            return sum(entry.size for entry in self._entries.values())

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._entries)

    def _find(self, token: object) -> _Entry:
        with self._lock:
            self._expire()
            entry = self._entries.get(token) if isinstance(token, str) else None
            if entry is None:
                raise SessionExpiredError("The session expired. Open the image again.")
            self._entries.move_to_end(str(token))
            entry.used = self._clock()
            return entry

    def _expire(self) -> None:
        before = self._clock() - self.max_idle
        while self._entries and next(iter(self._entries.values())).used < before:
            self._entries.popitem(last=False)

    def _make_room(self, newest: str) -> None:
        """Drop sessions if there are too many or if they take too many bytes; keep the newest."""
        others = [token for token in self._entries if token != newest]
        if len(self._entries) > self.limit:
            dropped = next((token for token in others if self._entries[token].session.image is None), others[0])
            others.remove(dropped)
            del self._entries[dropped]
        excess = sum(entry.size for entry in self._entries.values()) - self.limit_bytes
        with_image = [token for token in others if self._entries[token].session.image is not None]
        for token in with_image:
            if excess > 0:
                excess -= self._entries.pop(token).size


def showing(session: Session, image_key: object) -> Session:
    """Return a session if its image is the one of a request: its key, "" for no image, None for any.

    Raises:
        SessionExpiredError: another image is open.
    """
    if image_key not in (None, "" if session.image is None else session.image.key):
        raise SessionExpiredError("Another image was opened in this session. Open this image again to continue.")
    return session
