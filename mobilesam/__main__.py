"""``python -m mobilesam`` and the script ``mobilesam``: the command line, with handling of Ctrl-C.

Nothing heavy is imported here, so that an interrupt is handled from the start.
"""

from __future__ import annotations

import _thread
import gc
import os
import signal
import sys
import threading
from typing import Any

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Interrupts:
    """Turns SIGINT into exit code 130 without a traceback, unless SIGINT is ignored, as in a background job."""

    def __init__(self) -> None:
        self.seen = False
        self.handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def leave_at_once(self) -> None:
        """Exit at once on an interrupt, before the command starts and after it ends."""
        if self.handled:
            signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))

    def unwind(self) -> None:
        """Raise KeyboardInterrupt on an interrupt, so that the command cleans up."""
        if self.handled:
            signal.signal(signal.SIGINT, self._raise)
            sys.unraisablehook = self._retry

    def _raise(self, *_: object) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def _retry(self, unraisable: Any) -> None:
        """Interrupt again if the exception is lost, as in the callbacks of an import."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            later = threading.Timer(0.05, _thread.interrupt_main)  # an immediate interrupt would be lost too
            later.daemon = True
            later.start()
        else:
            sys.__unraisablehook__(unraisable)


def main() -> None:
    """Run the command line and exit."""
    interrupts = _Interrupts()
    interrupts.leave_at_once()
    gc.disable()  # until the command begins; collections during the imports would take a tenth of the time of predict
    from mobilesam.cli import main as run

    try:
        interrupts.unwind()
        run()
    except BaseException:
        if interrupts.seen:  # an import may have turned the interrupt into an ImportError
            sys.exit(_INTERRUPTED)
        raise
    finally:
        interrupts.leave_at_once()
        gc.freeze()  # the interpreter would search all objects for garbage once more, for as long as opening the model


if __name__ == "__main__":
    main()
