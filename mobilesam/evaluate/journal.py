"""The journal of an evaluation: one JSON object per line and image, so that a stopped run can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_DATASET_BYTES, exists, parse_json, read_bytes, write_bytes

Record = dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """The records of a run by file name, each written to disk before the next image is measured.

    The first line states the settings; a run is resumed only with the same ones.
    """

    path: Path
    records: dict[str, Record]

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any], *, resume: bool = False, force: bool = False) -> Self:
        """Start a journal, or resume an earlier one.

        about: model, data set and settings as JSON values; equal for every run that may share the journal.

        Raises:
            InputError: the file exists and neither ``resume`` nor ``force`` is given, or its settings differ.
        """
        if not exists(path) or (force and not resume):
            write_bytes(path, _line({"about": dict(about)}))
            return cls(path, {})
        if not resume:
            remedy = "continue with --resume, start again with --force, or choose another --out"
            raise InputError(sentence("output file", "not exist yet", path, remedy))
        earlier, records = read_journal(path)
        for key in sorted({*earlier, *about}):
            if earlier.get(key) != about.get(key):
                raise InputError(
                    f"{path.parent} cannot be resumed: its {key} is {earlier.get(key)!r}, and that of this run is "
                    f"{about.get(key)!r}; choose another --out, or start again with --force"
                )
        write_bytes(path, b"".join(map(_line, [{"about": earlier}, *records])))
        return cls(path, {record["file_name"]: record for record in records})

    def append(self, record: Record) -> None:
        """Add the record of one image."""
        with self.path.open("ab") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())
        self.records[record["file_name"]] = record


def read_journal(path: Path) -> tuple[dict[str, Any], list[Record]]:
    """Return the settings and the complete records of a journal; an incomplete last line is left out.

    Raises:
        InputError: the file cannot be read or is not a journal.
    """
    try:
        content = read_bytes(path, MAX_DATASET_BYTES)
        first, *rest = map(parse_json, content.split(b"\n")[:-1])
        if not all(isinstance(record["file_name"], str) for record in rest):
            raise ValueError
        return dict(first["about"]), rest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            sentence("journal", "be a file that mobilesam eval wrote", path, "choose another --out, or use --force")
        ) from error


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace") + b"\n"
