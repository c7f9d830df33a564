"""What has been done of a run, in SQLite, so that it goes on where it was stopped, however it was.

A picture is in the journal once its own files are written. The files of all pictures are made from it in the end.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple, Self

from mobilesam.batch.tasks import Outcome
from mobilesam.errors import InputError, sentence
from mobilesam.files import atomic_path
from mobilesam.formats.picture import MaskedPicture

NAME = "batch.sqlite"
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pictures (number INTEGER PRIMARY KEY, source TEXT NOT NULL, error TEXT, result BLOB);
"""


class BadPicture(NamedTuple):
    """A picture that could not be done, and why."""

    source: str
    reason: str


class Journal:
    """The pictures of a run in their order, each open, done or bad. Used by one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(
        cls, path: Path, about: Mapping[str, Any], sources: Sequence[str], *, resume: bool = False, force: bool = False
    ) -> Self:
        """Start a journal, or go on with an earlier one.

        about: what the results depend on, JSON values; equal for every run that may share the journal.

        Raises:
            InputError: the file exists and neither ``resume`` nor ``force`` is given, it belongs to another run, or
                another process is using it.
        """
        refuse_journal(path, resume=resume, force=force)
        started = not (resume and path.exists())
        try:
            if started:
                with atomic_path(path) as temporary, closing(sqlite3.connect(temporary)) as fresh, fresh:
                    fresh.executescript(_SCHEMA)
                    fresh.executemany("INSERT INTO about VALUES (?, ?)", [(k, json.dumps(v)) for k, v in about.items()])
                    fresh.executemany("INSERT INTO pictures (number, source) VALUES (?, ?)", enumerate(sources))
            with ExitStack() as unless_opened:
                connection = unless_opened.enter_context(
                    closing(sqlite3.connect(path, isolation_level=None, timeout=0))
                )
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("COMMIT")
                journal = cls(path, connection)
                if not started:
                    journal._check(about, sources)
                unless_opened.pop_all()
        except sqlite3.Error as error:
            remedy = "wait for the run that uses it, or choose another --out"
            actual = f"{path} ({error})"
            raise InputError(sentence("the journal", "be one of mobilesam batch, and free", actual, remedy)) from error
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def record(self, outcome: Outcome) -> None:
        """Note what came of a picture; it is on the disk when this returns."""
        self._connection.execute(
            "UPDATE pictures SET error = ?, result = ? WHERE number = ?",
            (outcome.error, None if outcome.error is not None else outcome.result, outcome.number),
        )

    def done(self) -> set[int]:
        """Return the numbers of the pictures that have a result."""
        return {number for (number,) in self._connection.execute("SELECT number FROM pictures WHERE result NOTNULL")}

    def bad(self) -> list[BadPicture]:
        """Return the bad pictures in order."""
        rows = self._connection.execute("SELECT source, error FROM pictures WHERE error NOTNULL ORDER BY number")
        return [BadPicture(*row) for row in rows]

    def results(self) -> Iterator[MaskedPicture]:
        """Yield the pictures that have a result, in order."""
        rows = self._connection.execute("SELECT result FROM pictures WHERE result NOTNULL ORDER BY number")
        return (unpack(result) for (result,) in rows)

    def close_finished(self) -> None:
        """Close the journal, rewritten so that its bytes depend on its content alone, not on the order of events."""
        with atomic_path(self.path) as temporary:
            self._connection.execute("ATTACH ? AS fresh", (str(temporary),))
            self._connection.executescript(_SCHEMA.replace("TABLE ", "TABLE fresh."))
            for table in ("about", "pictures"):
                self._connection.execute(f"INSERT INTO fresh.{table} SELECT * FROM main.{table} ORDER BY 1")
            self._connection.close()

    def _check(self, about: Mapping[str, Any], sources: Sequence[str]) -> None:
        earlier = {key: json.loads(value) for key, value in self._connection.execute("SELECT key, value FROM about")}
        now = json.loads(json.dumps(about))
        for key in sorted({*earlier, *now}):
            if earlier.get(key) != now.get(key):
                self._refuse(f"do the same as before ({key} {earlier.get(key)!r})", repr(now.get(key)))
        before = [source for (source,) in self._connection.execute("SELECT source FROM pictures ORDER BY number")]
        if before != list(sources):
            other = sorted(set(before) ^ set(sources)) or ["another order"]
            count = f"{len(sources)}, and a difference at {other[0]}"
            self._refuse(f"be given the same {len(before)} pictures as before", count)

    def _refuse(self, requirement: str, actual: str) -> None:
        remedy = "choose another --out, or start again with --force"
        raise InputError(sentence(f"--resume into {self.path.parent}", requirement, actual, remedy))


def refuse_journal(path: Path, *, resume: bool, force: bool) -> None:
    """Raise InputError if there is a journal and neither ``resume`` nor ``force`` is given."""
    if path.exists() and not (resume or force):
        remedy = "go on with --resume, start again with --force, or choose another --out"
        raise InputError(sentence("output file", "not exist yet", path, remedy))


def pack(picture: MaskedPicture) -> bytes:
    """Return a picture and its masks as bytes; :func:`unpack` gives them back."""
    return zlib.compress(json.dumps([picture.file_name, picture.hw, picture.records]).encode())


def unpack(result: bytes) -> MaskedPicture:
    """Return what :func:`pack` packed."""
    file_name, (height, width), records = json.loads(zlib.decompress(result))
    return MaskedPicture(file_name, (height, width), records)
