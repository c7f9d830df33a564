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
GPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
# Size and sha256.
_FILES = {
    MODULE: (50_126, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    LOADER: (24_381, "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    WASM: (14_239_897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
}
_GPU_FILES = {
    GPU[0]: (66_349, "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0"),
    GPU[1]: (53_057, "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28"),
    GPU[2]: (26_781_914, "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"),
}


def folder() -> Path:
    """Return the folder of the files."""
    return weights.folder() / PACKAGE.replace("@", "-")


def find(*, webgpu: bool = False) -> list[Path] | None:
    """Return the paths of the files, verified, or None if one is missing or damaged; with ``webgpu``, of those too."""
    files = _files(webgpu)
    return None if any(map(_is_missing, files)) else [file.path for file in files]


def fetch(
    progress: Progress | None = None, retry_policy: RetryPolicy | None = None, *, webgpu: bool = False
) -> list[Path]:
    """Return the paths of the files, which are fetched with the npm client where one is missing or damaged.

    Args:
        progress: see :meth:`mobilesam.weights.store.Store.fetch`.
        retry_policy: of the downloads.
        webgpu: whether the files for WebGPU are wanted, too.

    Raises:
        WeightsError: the files cannot be fetched, or the folder cannot be written.
    """
    with weights.default_store().locked():
        if missing := list(filter(_is_missing, _files(webgpu))):
            names = ", ".join(file.path.name for file in _files(webgpu))
            try:
                download.from_npm(PACKAGE, missing, progress or (lambda *_: None), retry_policy or RetryPolicy())
            except SourceError as error:
                raise WeightsError(
                    f"ONNX Runtime for browsers, the npm package {PACKAGE}, could not be fetched: {error}. Install npm "
                    f"and connect to its registry, or copy {names} from the package's folder dist to {folder()}."
                ) from error
    return [file.path for file in _files(webgpu)]


def saved_files() -> list[Path]:
    """Return the files that are in the folder, and unfinished ones."""
    paths = [path for file in _files(webgpu=True) for path in (file.path, file.part)]
    return [path for path in paths if path.exists() and cache.is_inside(path, weights.folder())]


def _files(webgpu: bool = False) -> list[RemoteFile]:
    files = _FILES | _GPU_FILES if webgpu else _FILES
    return [RemoteFile(folder() / name, size, sha256, f"package/dist/{name}") for name, (size, sha256) in files.items()]


def _is_missing(file: RemoteFile) -> bool:
    return not file.path.is_file() or bool(download.problem(file.path, file.size, file.sha256))
