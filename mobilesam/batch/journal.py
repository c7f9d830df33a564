"""The progress of a run in a SQLite file, from which a stopped or killed run is resumed.

An image is recorded after its own files are written. The files of all images are written from the journal at the end.
A journal must be opened within :func:`mobilesam.batch.folder.one_run`.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple, Self

from mobilesam.batch.fingerprint import Fingerprint
from mobilesam.batch.folder import finished_journal, new_token, remove_unfinished, unfinished
from mobilesam.batch.journal_file import (
    SCHEMA,
    VERSION,
    Planned,
    create,
    damaged,
    explained,
    parsed,
    planned,
    tables,
    tokens,
)
from mobilesam.batch.tasks import Outcome
from mobilesam.errors import InputError
from mobilesam.files import parse_json
from mobilesam.formats.masked_image import MaskedImage

NAME = "batch.sqlite"


class BadImage(NamedTuple):
    """An image without a result, and the reason."""

    source: str
    reason: str


class Journal:
    """The images of a run in order, each open, done or bad. Used by one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._token = new_token()
        self.changed_prompts = 0  # images whose prompts differ from those of the run that is resumed

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any], images: Sequence[Planned], *, resume: bool = False) -> Self:
        """Open the journal of an earlier run to resume it, or replace it by a new one.

        about: what the results depend on, as JSON values; a run can only be resumed with equal values. "prompts" has a
            digest for each image; images whose digest differs are reopened.

        Raises:
            InputError: the file belongs to another run, is not a journal of this version, or cannot be written.
        """
        if not (resume and tables(path)):
            create(path, about, images)
        with explained(path), ExitStack() as unless_opened:
            connection = unless_opened.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
            journal = cls(path, connection)
            journal._check(about, images)
            unless_opened.pop_all()
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove unfinished files and close the journal."""
        try:
            remove_unfinished(self.path.parent, self._token)
        finally:
            self._connection.close()

    def make_folder(self) -> Path:
        """Return a new folder for unfinished files, and remove those of earlier runs that were killed."""
        with explained(self.path):
            earlier = tokens(self._connection)
            self._connection.execute("INSERT INTO unfinished VALUES (?)", (self._token,))
            for token in earlier:
                remove_unfinished(self.path.parent, token)
                self._connection.execute("DELETE FROM unfinished WHERE token = ?", (token,))
            folder = unfinished(self.path.parent, self._token).absolute()
            folder.mkdir()
        return folder

    def record(self, outcome: Outcome) -> None:
        """Record the outcome of an image; it is on the disk when this returns."""
        problems = json.dumps(outcome.problems) if outcome.problems else None
        values: tuple[Any, ...] = (json.dumps(outcome.fingerprint), problems, outcome.result)
        if outcome.error is not None:
            values = (None, json.dumps(outcome.error), None)
        sql = "UPDATE images SET fingerprint = ?, error = ?, result = ? WHERE number = ?"
        self._change(sql, [(*values, outcome.number)])

    def confirm(self, fingerprints: Mapping[int, Fingerprint]) -> None:
        """Record new fingerprints of files whose bytes have not changed."""
        rows = [(json.dumps(fingerprint), number) for number, fingerprint in fingerprints.items()]
        self._change("UPDATE images SET fingerprint = ? WHERE number = ?", rows)

    def reopen(self, numbers: Iterable[int]) -> None:
        """Delete the results of images."""
        sql = "UPDATE images SET fingerprint = NULL, error = NULL, result = NULL WHERE number = ?"
        self._change(sql, [(number,) for number in numbers])

    def done(self) -> set[int]:
        """Return the numbers of the images that have a result."""
        return {number for (number,) in self._select("SELECT number FROM images WHERE result NOTNULL")}

    def fingerprints(self) -> dict[int, Fingerprint]:
        """Return the fingerprints of the images that have a result, by their numbers."""
        rows = self._select("SELECT number, fingerprint FROM images WHERE result NOTNULL ORDER BY number")
        return {number: _fingerprint(text) for number, text in rows}

    def bad(self) -> list[BadImage]:
        """Return the bad images in order."""
        rows = self._select("SELECT source, error FROM images WHERE error NOTNULL AND result ISNULL ORDER BY number")
        return [BadImage(parsed(source), parsed(error)) for source, error in rows]

    def problems(self) -> list[str]:
        """Return why prompts were left out of the results of images."""
        rows = self._select("SELECT error FROM images WHERE error NOTNULL AND result NOTNULL ORDER BY number")
        return [str(text) for (error,) in rows for text in parsed(error)]

    def results(self) -> Iterator[MaskedImage]:
        """Yield the images that have a result, in order."""
        for number in sorted(self.done()):
            yield self.result(number)

    def result(self, number: int) -> MaskedImage:
        """Return the result of an image that is done."""
        ((result,),) = self._select("SELECT result FROM images WHERE number = ?", number)
        return unpack(result)

    def close_finished(self) -> None:
        """Rewrite the journal so that its bytes do not depend on the order of the outcomes, and close it."""
        fresh = finished_journal(self.path.parent, self._token)
        with explained(self.path):
            self._connection.execute("ATTACH ? AS fresh", (os.fsencode(fresh),))
            self._connection.executescript(SCHEMA.replace("main.", "fresh."))
            for table in ("about", "images"):
                self._connection.execute(f"INSERT INTO fresh.{table} SELECT * FROM main.{table} ORDER BY 1")
            self._connection.close()
            # Until the last step, the journal in place contains the token of the unfinished files.
            shutil.rmtree(unfinished(self.path.parent, self._token), ignore_errors=True)
            fresh.replace(self.path)

    def _select(self, sql: str, *parameters: int) -> list[Any]:
        """Return all rows, so that no cursor stays open."""
        with explained(self.path), closing(self._connection.execute(sql, parameters)) as cursor:
            return cursor.fetchall()

    def _change(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with explained(self.path), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(sql, rows)

    def _check(self, about: Mapping[str, Any], images: Sequence[Planned]) -> None:
        """Raise InputError if the journal is of another version or run."""
        ((version,),) = self._select("PRAGMA user_version")
        if version != VERSION:
            self._refuse("another version of mobilesam wrote its journal")
        with explained(self.path):
            before = planned(self._connection)
        if before != list(images):
            other = sorted(set(before) ^ set(images)) or [Planned("their order", "")]
            self._refuse(
                f"it has {len(before)} images, not these {len(images)}; the first difference is {other[0].source}"
            )
        earlier = {key: parsed(value) for key, value in self._select("SELECT key, value FROM about")}
        now = json.loads(json.dumps(about))
        digests = earlier.pop("prompts", []), now.pop("prompts", [])
        if len(digests[0]) == len(digests[1]):
            changed = [number for number, (one, other) in enumerate(zip(*digests, strict=True)) if one != other]
        else:
            self._refuse("its prompts were different")
        for key in sorted({*earlier, *now}):
            if earlier.get(key) != now.get(key):
                self._refuse(f"{key} was {earlier.get(key)!r} and is now {now.get(key)!r}")
        if changed:
            self.reopen(changed)
            self._change("UPDATE about SET value = ? WHERE key = 'prompts'", [(json.dumps(digests[1]),)])
            self.changed_prompts = len(changed)

    def _refuse(self, reason: str) -> None:
        raise InputError(
            f"The run in {self.path.parent} cannot be resumed: {reason}. Choose another --out, or start again with "
            "--force."
        )


def pack(image: MaskedImage) -> bytes:
    """Return an image and its masks as bytes for :func:`unpack`."""
    return zlib.compress(json.dumps([image.file_name, image.hw, image.records]).encode())


def unpack(result: bytes) -> MaskedImage:
    """Return the image and its masks that :func:`pack` packed.

    Raises:
        InputError: the bytes are damaged.
    """
    try:
        file_name, (height, width), records = parse_json(zlib.decompress(result))
    except (zlib.error, ValueError, TypeError) as error:
        raise damaged(str(error)) from error
    if not (isinstance(file_name, str) and isinstance(records, list)):
        raise damaged("a result is incomplete")
    return MaskedImage(file_name, (height, width), records)


def _fingerprint(text: Any) -> Fingerprint:
    values = parsed(text)
    if not isinstance(values, list) or [type(value) for value in values] != [int, int, str]:
        raise damaged("a fingerprint is incomplete")
    return Fingerprint(*values)
