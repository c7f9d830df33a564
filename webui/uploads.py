"""The folder in which Gradio stores the files that scripts upload, bounded in bytes, files and age."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from mobilesam.errors import MobileSamError, sentence

MAX_FILES = 1000
UPLOADS_KEPT = 600  # seconds after which Gradio deletes a file
_LEFT_OVER = 120  # seconds more after which any file is deleted, as of forms that Gradio did not accept


class UploadError(MobileSamError):
    """The body of a request is refused; ``status`` is that of the response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UploadFolder:
    """A new folder, removed at the end.

    limit: bytes of all files together.
    """

    def __init__(self, limit: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mobilesam-uploads-")).resolve()
        self.limit = limit

    def used(self) -> tuple[int, int]:
        """Delete files that were left over and old empty folders; return the bytes and the number of the other files.

        Gradio makes a folder for each upload and deletes only the file in it.
        """
        size = count = 0
        oldest = time.time() - UPLOADS_KEPT - _LEFT_OVER
        for path in list(self.path.rglob("*")):
            try:
                status = path.stat()
                if path.is_dir():
                    if status.st_mtime < oldest and not any(path.iterdir()):
                        path.rmdir()
                    continue
                if status.st_mtime < oldest:
                    path.unlink()
                    continue
            except OSError:
                continue  # Gradio has moved or deleted it, or writes into the folder
            size, count = size + status.st_size, count + 1
        return size, count

    def check(self, more: int) -> None:
        """Check that there is room for so many bytes more.

        Raises:
            UploadError: there is not.
        """
        size, count = self.used()
        if size + more > self.limit or count >= MAX_FILES:
            requirement = f"have at most {self.limit / 1e6:.0f} MB in {MAX_FILES} files"
            actual = f"{(size + more) / 1e6:.0f} MB in {count + 1} files"
            remedy = f"try again later, files are deleted after {UPLOADS_KEPT // 60} minutes"
            raise UploadError(503, sentence("the folder of uploads", requirement, actual, remedy))

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
