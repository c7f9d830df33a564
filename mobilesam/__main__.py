"""``python -m mobilesam`` and the script ``mobilesam``: the command line, which Ctrl-C ends at any moment.

Nothing heavy is imported here, so that an interrupt is handled from the first moment on.
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
    """Turns SIGINT into exit code 130 without a traceback, unless it is ignored, as in a job in the background."""

    def __init__(self) -> None:
        self.seen = False
        self.heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def leave_at_once(self) -> None:
        """Exit on an interrupt: where nothing has been begun, or all has been done."""
        if self.heeded:
            signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))

    def unwind(self) -> None:
        """Raise KeyboardInterrupt on an interrupt, so that what has been begun is cleaned up."""
        if self.heeded:
            signal.signal(signal.SIGINT, self._raise)
            sys.unraisablehook = self._retry

    def _raise(self, *_: object) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def _retry(self, unraisable: Any) -> None:
        """Interrupt again where an exception is lost, as in the callbacks of an import."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            later = threading.Timer(0.05, _thread.interrupt_main)  # at once would be lost in here
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
        if interrupts.seen:  # also where an import has made an ImportError of the interrupt
            sys.exit(_INTERRUPTED)
        raise
    finally:
        interrupts.leave_at_once()


if __name__ == "__main__":
    main()
