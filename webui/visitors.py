"""The visitors' states, each behind a token that nobody can guess.

A token is handed out once, to the page that asked for it, and is the only way to a picture: digests, which two
visitors of the same picture share, are never accepted from outside.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable

from mobilesam.errors import MobileSamError
from mobilesam.webui.session import Session


class GoneError(MobileSamError):
    """The server knows no such visitor, or no longer has the picture; the page opens it again."""


class _Visitor:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.lock = threading.Lock()


class Visitors:
    """At most ``limit`` states; the one unused for longest is forgotten first."""

    def __init__(self, limit: int = 2000) -> None:
        self.limit = limit
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, session: Session) -> str:
        """Return a new visitor's token."""
        token = secrets.token_urlsafe(18)
        with self._lock:
            self._visitors[token] = _Visitor(session)
            while len(self._visitors) > self.limit:
                self._visitors.popitem(last=False)
        return token

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
            visitor.session = step(visitor.session)
            return visitor.session

    def _find(self, token: object) -> _Visitor:
        with self._lock:
            visitor = self._visitors.get(token) if isinstance(token, str) else None
            if visitor is None:
                raise GoneError("this visit must be known to the server, got one from before; open the picture again")
            self._visitors.move_to_end(str(token))
            return visitor

    def __len__(self) -> int:
        return len(self._visitors)
