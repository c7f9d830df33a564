"""A running ``mobilesam serve``, for benchmarks and tests."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading


class ServeProcess:
    """url: of the server."""

    def __init__(self, *options: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "mobilesam", "serve", "--backend", "onnx", "--port", "0", *options]
        variables = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)
        self.log: list[str] = []
        lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()
        line = ""
        while not line.startswith("serving on "):
            try:
                line = lines.get(timeout=400)
            except queue.Empty:
                self.process.kill()
            if not line or self.process.poll() is not None:
                self.process.wait(60)
                self.stop_reading()
                raise RuntimeError(f"the server did not start: {''.join(self.log)}")
        self.url = line.split()[2]

    def _read(self, lines: queue.Queue[str]) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            lines.put(line)
        lines.put("")

    def stop(self) -> int:
        """End the server as Ctrl-C does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.stop_reading()
        return code

    def stop_reading(self) -> None:
        """Read the rest of the log of a server that ended."""
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
