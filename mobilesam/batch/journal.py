"""What has been done of a run, in SQLite, so that it goes on where it was stopped, however it was.

An image is in the journal once its own files are written. The files of all images are made from it in the end.
Whoever opens a journal has its folder for itself, see :func:`mobilesam.batch.folder.one_run`.
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
    is_started,
    parsed,
    planned,
    tokens,
)
from mobilesam.batch.tasks import Outcome
from mobilesam.errors import InputError, sentence
from mobilesam.files import parse_json
from mobilesam.formats.masked_image import MaskedImage

NAME = "batch.sqlite"


class BadImage(NamedTuple):
    """An image that could not be done, and why."""

    source: str
    reason: str


class Journal:
    """The images of a run in their order, each open, done or bad. Used by one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._token = new_token()

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any], images: Sequence[Planned], *, resume: bool = False) -> Self:
        """Go on with an earlier journal, or start one, in place of an earlier one.

        about: what the results depend on, JSON values; equal for every run that may share the journal.

        Raises:
            InputError: the file belongs to another run, or is no journal of this version, or cannot be written.
        """
        if not (resume and is_started(path)):
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
        """Remove what is not finished, and close the journal."""
        try:
            remove_unfinished(self.path.parent, self._token)
        finally:
            self._connection.close()

    def make_folder(self) -> Path:
        """Return a new folder for unfinished files, and remove what earlier runs that were killed have left."""
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
        """Note what came of an image; it is on the disk when this returns."""
        good = outcome.error is None
        row = (
            json.dumps(outcome.fingerprint) if good else None,
            None if good else json.dumps(outcome.error),
            outcome.result if good else None,
            outcome.number,
        )
        with explained(self.path):
            self._connection.execute("UPDATE images SET fingerprint = ?, error = ?, result = ? WHERE number = ?", row)

    def confirm(self, fingerprints: Mapping[int, Fingerprint]) -> None:
        """Note the fingerprints of files whose bytes are those of before."""
        rows = [(json.dumps(fingerprint), number) for number, fingerprint in fingerprints.items()]
        self._change("UPDATE images SET fingerprint = ? WHERE number = ?", rows)

    def reopen(self, numbers: Iterable[int]) -> None:
        """Forget the results of images."""
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
        rows = self._select("SELECT source, error FROM images WHERE error NOTNULL ORDER BY number")
        return [BadImage(parsed(source), parsed(error)) for source, error in rows]

    def results(self) -> Iterator[MaskedImage]:
        """Yield the images that have a result, in order."""
        for number in sorted(self.done()):
            yield self._result(number)

    def mask_count(self, number: int) -> int:
        """Return how many masks an image has that is done."""
        return len(self._result(number).records)

    def close_finished(self) -> None:
        """Close the journal, rewritten so that its bytes depend on its content alone, not on the order of events."""
        fresh = finished_journal(self.path.parent, self._token)
        with explained(self.path):
            self._connection.execute("ATTACH ? AS fresh", (os.fsencode(fresh),))
            self._connection.executescript(SCHEMA.replace("main.", "fresh."))
            for table in ("about", "images"):
                self._connection.execute(f"INSERT INTO fresh.{table} SELECT * FROM main.{table} ORDER BY 1")
            self._connection.close()
            # Until the last step, the journal in place knows the token of what lies in the folder.
            shutil.rmtree(unfinished(self.path.parent, self._token), ignore_errors=True)
            fresh.replace(self.path)

    def _result(self, number: int) -> MaskedImage:
        ((result,),) = self._select("SELECT result FROM images WHERE number = ?", number)
        return unpack(result)

    def _select(self, sql: str, *parameters: int) -> list[Any]:
        """Return all rows, so that no cursor is left open, whatever happens to whoever reads them."""
        with explained(self.path), closing(self._connection.execute(sql, parameters)) as cursor:
            return cursor.fetchall()

    def _change(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with explained(self.path), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(sql, rows)

    def _check(self, about: Mapping[str, Any], images: Sequence[Planned]) -> None:
        ((version,),) = self._select("PRAGMA user_version")
        if version != VERSION:
            self._refuse("find a journal of this version of mobilesam", "one of another version")
        with explained(self.path):
            before = planned(self._connection)
        if before != list(images):
            other = sorted(set(before) ^ set(images)) or [Planned("another order", "")]
            count = f"{len(images)}, and a difference at {other[0].source}"
            self._refuse(f"be given the same {len(before)} images as before", count)
        earlier = {key: parsed(value) for key, value in self._select("SELECT key, value FROM about")}
        now = json.loads(json.dumps(about))
        if earlier.get("prompts") != now.get("prompts"):  # their digests would say nothing in a message
            self._refuse("be given the same prompts as before", "others")
        for key in sorted({*earlier, *now}):
            if earlier.get(key) != now.get(key):
                self._refuse(f"do the same as before ({key} {earlier.get(key)!r})", repr(now.get(key)))

    def _refuse(self, requirement: str, actual: str) -> None:
        remedy = "choose another --out, or start again with --force"
        raise InputError(sentence(f"--resume into {self.path.parent}", requirement, actual, remedy))


def pack(image: MaskedImage) -> bytes:
    """Return an image and its masks as bytes; :func:`unpack` gives them back."""
    return zlib.compress(json.dumps([image.file_name, image.hw, image.records]).encode())


def unpack(result: bytes) -> MaskedImage:
    """Return what :func:`pack` packed.

    Raises:
        InputError: the bytes are damaged.
    """
    try:
        file_name, (height, width), records = parse_json(zlib.decompress(result))
    except (zlib.error, ValueError, TypeError) as error:
        raise damaged(str(error)) from error
    if not (isinstance(file_name, str) and isinstance(records, list)):
        raise damaged("a result is not whole")
    return MaskedImage(file_name, (height, width), records)


def _fingerprint(text: Any) -> Fingerprint:
    values = parsed(text)
    if not isinstance(values, list) or [type(value) for value in values] != [int, int, str]:
        raise damaged("a fingerprint is not whole")
    return Fingerprint(*values)
