"""The folder in which Gradio stores the files that scripts upload, limited in bytes, files and age."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from mobilesam.serve.failures import RefusedError

MAX_FILES = 1000
UPLOADS_KEPT = 600  # seconds after which Gradio deletes a file
_LEFT_OVER = 120  # seconds more after which any file is deleted, such as those of forms that Gradio refused


class UploadFolder:
    """A new temporary folder, removed by ``close``.

    limit: bytes of all files together.
    """

    def __init__(self, limit: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mobilesam-uploads-")).resolve()
        self.limit = limit

    def used(self) -> tuple[int, int]:
        """Delete old files and old empty folders; return the bytes and the number of the remaining files.

        Gradio makes a folder for each upload and deletes only the file in it.
        """
        sizes = []
        oldest = time.time() - UPLOADS_KEPT - _LEFT_OVER
        for path in list(self.path.rglob("*")):
            try:
                status = path.stat()
                if path.is_dir():
                    if status.st_mtime < oldest and not any(path.iterdir()):
                        path.rmdir()
                elif status.st_mtime < oldest:
                    path.unlink()
                else:
                    sizes.append(status.st_size)
            except OSError:
                continue  # Gradio has moved or deleted it, or writes into the folder
        return sum(sizes), len(sizes)

    def check(self, more: int) -> None:
        """Check that there is room for so many bytes more.

        Raises:
            RefusedError: there is not.
        """
        size, count = self.used()
        if size + more > self.limit or count >= MAX_FILES:
            raise RefusedError(
                503,
                f"The upload folder of the server is full: it has {size / 1e6:.1f} of {self.limit / 1e6:.0f} MB in "
                f"{count} of {MAX_FILES} files. Try again later; files are deleted after {UPLOADS_KEPT // 60} minutes.",
            )

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
