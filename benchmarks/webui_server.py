"""A running page and the browser for it, for benchmarks and tests."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Return the path of a browser, or None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Server:
    """A running ``mobilesam webui``."""

    def __init__(self, *options: str) -> None:
        arguments = [sys.executable, "-m", "mobilesam", "webui", "--port", "0", *options]
        self.process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self.url = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if match := re.search(r"http://\S+", line):
                self.url = match[0]
                break
        assert self.url, f"the server did not start: {''.join(self.log)}"
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log += self.process.stderr

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the server with a signal and return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(120)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code
