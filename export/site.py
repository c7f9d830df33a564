"""A folder of static files that segments images in a browser tab: scripts, a model, and ONNX Runtime for browsers."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from mobilesam import samples
from mobilesam._version import __version__
from mobilesam.automatic.settings import MODES
from mobilesam.errors import InputError, sentence
from mobilesam.export import site_model, site_runtime
from mobilesam.export.recipes import Recipe
from mobilesam.export.site_source import GRAPHS
from mobilesam.files import exists

MANIFEST = "manifest.json"


class Site(NamedTuple):
    """path: the folder; files: the size of each file by name."""

    path: Path
    files: dict[str, int]


def write_site(
    source: Path,
    out: Path,
    runtime: Sequence[Path],
    *,
    precision: str = Recipe.weights.value,
    force: bool = False,
    progress: Callable[[str], object] = lambda stage: None,
) -> Site:
    """Write the folder. It appears complete or not at all.

    Args:
        source: a folder with an encoder and a split decoder, see :mod:`mobilesam.export.site_source`.
        out: the folder to write.
        runtime: the files of :func:`mobilesam.export.site_runtime.fetch`.
        precision: "weights", large weights in int8; or "float32". Files that are quantized stay as they are.
        force: replace a folder that this function wrote.
        progress: called with a description of each stage.

    Raises:
        InputError: the source is not such a folder, or ``out`` exists or cannot be written.
    """
    refuse_out(out, force=force)
    contents = _page() | site_model.model_files(source, GRAPHS, precision, progress)
    contents |= site_model.runtime_files(runtime)
    if any(path.name in site_runtime.GPU for path in runtime):
        contents |= site_model.webgpu_check(contents)
    about = {"modes": list(MODES), "samples": list(samples.PHOTOS)}
    progress("writing the folder")
    with _replaced(out) as made:
        for name, content in (contents | {MANIFEST: site_model.manifest(contents, about)}).items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(content)
    return Site(out, {name: len(content) for name, content in contents.items()})


def refuse_out(out: Path, *, force: bool) -> None:
    """Check before any work that the folder can be written.

    Raises:
        InputError: it exists and ``force`` is false, has files that :func:`write_site` did not write, or its parent
            cannot be written.
    """
    if exists(out) and not (out.is_dir() and not any(out.iterdir())):
        if not force:
            remedy = "choose another --out, or replace it with --force"
            raise InputError(sentence("out", "not exist yet", out, remedy))
        if other := _other_file(out):
            remedy = "choose another --out, or move the file"
            raise InputError(sentence("out", "be a folder that mobilesam site wrote", f"{out} with {other}", remedy))
    existing = next(path for path in out.absolute().parents if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(sentence("out", "be in a folder that can be written", existing, "choose another --out"))


def _other_file(folder: Path) -> str | None:
    """Return the name of a file that is not in the manifest of a folder."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        known = {MANIFEST, *(entry["file"] for entry in manifest["files"])} if manifest["runtime"] else set()
    except (OSError, ValueError, LookupError, TypeError):
        known = set()
    if not folder.is_dir():
        return folder.name
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    return next((name for name in names if name not in known), None)


@contextlib.contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """Yield a new folder beside ``out``; it gets that name on success, and is removed on any failure."""
    token = secrets.token_hex(8)
    made, old = (out.absolute().with_name(f".{out.absolute().name[:40]}.{token}.{kind}") for kind in ("partial", "old"))
    try:
        made.mkdir(parents=True)
        yield made
        if out.is_dir():
            out.replace(old)
        made.replace(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.replace(out)
        reason = error.strerror or type(error).__name__
        remedy = "choose another --out"
        raise InputError(sentence("out", "be a folder that can be written", f"{out} ({reason})", remedy)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _page() -> dict[str, bytes]:
    """Return the page, its scripts, and the sample photos."""
    static = importlib.resources.files("mobilesam.webui").joinpath("static")
    photos = importlib.resources.files(samples)
    frame = importlib.resources.files("mobilesam.export").joinpath("site_files", "index.html").read_text("utf-8")
    page = frame.replace("<!-- page.html -->", static.joinpath("page.html").read_text("utf-8"))
    package = {
        "name": "mobilesam",
        "version": __version__,
        "type": "module",
        "types": "./mobilesam.d.ts",
        "exports": {".": {"types": "./mobilesam.d.ts", "default": "./mobilesam.js"}, "./*": "./*"},
        "license": "Apache-2.0",
    }
    files = _files_in(static)
    del files["page.html"]
    return {
        **files,
        "index.html": page.encode(),
        "package.json": json.dumps(package, indent=2).encode() + b"\n",
        **{f"samples/{name}": photos.joinpath(name).read_bytes() for name in samples.PHOTOS},
    }


def _files_in(folder: Traversable, prefix: str = "") -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            files |= _files_in(entry, f"{prefix}{entry.name}/")
        else:
            files[f"{prefix}{entry.name}"] = entry.read_bytes()
    return files
