"""``python -m mobilesam`` and the script ``mobilesam``: the command line, which Ctrl-C can interrupt at any time.

This module has no heavy imports, so that interrupts are handled from the start.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from typing import Any

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Interrupts:
    """Exit with code 130 and no traceback on SIGINT, unless the process ignores it, like a background job."""

    def __init__(self) -> None:
        self.seen = False
        self.enabled = signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def leave_at_once(self) -> None:
        """Exit at once on an interrupt, as before any work has begun and after all of it is done."""
        if self.enabled:
            signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))

    def unwind(self) -> None:
        """Raise KeyboardInterrupt on an interrupt, so that unfinished work is cleaned up."""
        if self.enabled:
            signal.signal(signal.SIGINT, self._raise)
            sys.unraisablehook = self._retry

    def _raise(self, *_: object) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def _retry(self, unraisable: Any) -> None:
        """Interrupt again if the exception was discarded, as in the callbacks of an import."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            later = threading.Timer(0.05, _thread.interrupt_main)  # an interrupt in this hook would be discarded too
            later.daemon = True
            later.start()
        else:
            sys.__unraisablehook__(unraisable)


def main() -> None:
    """Run the command line and exit."""
    interrupts = _Interrupts()
    interrupts.leave_at_once()
    from mobilesam.cli import main as run

    try:
        interrupts.unwind()
        run()
    except BaseException:
        if interrupts.seen:  # including an ImportError that an import has raised for the interrupt
            sys.exit(_INTERRUPTED)
        raise
    finally:
        interrupts.leave_at_once()


if __name__ == "__main__":
    main()
