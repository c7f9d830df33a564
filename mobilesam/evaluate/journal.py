"""A file of finished images, one JSON object a line, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_DATASET_BYTES, exists, parse_json, read_bytes, write_bytes

Record = dict[str, Any]


class Journal:
    """The records of a run by image, each written to disk before the next image begins.

    The first line says what is being measured; a run resumes only what it would measure the same way.
    """

    def __init__(self, path: Path, records: dict[str, Record]) -> None:
        self.path = path
        self.records = records

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any], *, resume: bool = False, force: bool = False) -> Self:
        """Start a journal, or go on with an earlier one.

        about: what is being measured, JSON values; equal for every run that may share the journal.

        Raises:
            InputError: the file exists and neither ``resume`` nor ``force`` is given, or it belongs to another run.
        """
        if resume and exists(path):
            return cls(path, _recover(path, about))
        if exists(path) and not force:
            remedy = "go on with --resume, start again with --force, or choose another --out"
            raise InputError(sentence("output file", "not exist yet", path, remedy))
        write_bytes(path, _line({"about": dict(about)}))
        return cls(path, {})

    def append(self, record: Record) -> None:
        """Add the record of one image, under its ``file_name``."""
        with self.path.open("ab") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())
        self.records[record["file_name"]] = record


def read_journal(path: Path) -> tuple[dict[str, Any], list[Record]]:
    """Return what a journal measures and its complete records; a line cut short by a crash is left out.

    Raises:
        InputError: the file cannot be read or is no journal.
    """
    try:
        content = read_bytes(path, MAX_DATASET_BYTES)
        lines = content.split(b"\n")[:-1]  # what follows the last line feed was not finished
        first, *rest = map(parse_json, lines)
        if not all(isinstance(record["file_name"], str) for record in rest):
            raise ValueError
        return dict(first["about"]), rest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            sentence("journal", "be one written by mobilesam eval", str(path), "choose another --out, or use --force")
        ) from error


def _recover(path: Path, about: Mapping[str, Any]) -> dict[str, Record]:
    earlier, records = read_journal(path)
    differing = [key for key in sorted({*earlier, *about}) if earlier.get(key) != about.get(key)]
    if differing:
        key = differing[0]
        raise InputError(
            sentence(
                f"--resume into {path.parent}",
                f"measure the same as before ({key} {earlier.get(key)!r})",
                repr(about.get(key)),
                "choose another --out, or start again with --force",
            )
        )
    write_bytes(path, b"".join(map(_line, [{"about": earlier}, *records])))
    return {record["file_name"]: record for record in records}


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace") + b"\n"
