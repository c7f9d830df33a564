"""What has been done of a run, in SQLite, so that it goes on where it was stopped, however it was.

A picture is in the journal once its own files are written. The files of all pictures are made from it in the end.
Whoever opens a journal has its folder for itself, see :func:`mobilesam.batch.folder.one_run`.
"""

from __future__ import annotations

import contextlib
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
from mobilesam.batch.tasks import Outcome
from mobilesam.errors import InputError, sentence
from mobilesam.formats.picture import MaskedPicture

NAME = "batch.sqlite"
_VERSION = 2  # of the schema
# Texts and fingerprints are JSON, which also holds file names that are not Unicode.
_SCHEMA = """
PRAGMA main.user_version = {version};
CREATE TABLE main.about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE main.pictures (
    number INTEGER PRIMARY KEY, source TEXT NOT NULL, name TEXT NOT NULL, fingerprint TEXT, error TEXT, result BLOB
);
CREATE TABLE main.unfinished (token TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class BadPicture(NamedTuple):
    """A picture that could not be done, and why."""

    source: str
    reason: str


class Planned(NamedTuple):
    """A picture of a run, and the name of its files below the folder of the results, such as ``sub/cat``."""

    source: str
    name: str


class Journal:
    """The pictures of a run in their order, each open, done or bad. Used by one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._token = new_token()

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any], pictures: Sequence[Planned], *, resume: bool = False) -> Self:
        """Go on with an earlier journal, or start one, in place of an earlier one.

        about: what the results depend on, JSON values; equal for every run that may share the journal.

        Raises:
            InputError: the file belongs to another run, or is no journal of this version, or cannot be written.
        """
        if not (resume and _is_started(path)):
            _create(path, about, pictures)
        with _explained(path), ExitStack() as unless_opened:
            connection = unless_opened.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
            journal = cls(path, connection)
            journal._check(about, pictures)
            unless_opened.pop_all()
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is not finished, and close the journal."""
        remove_unfinished(self.path.parent, self._token)
        self._connection.close()

    def make_folder(self) -> Path:
        """Return a new folder for unfinished files, and remove what earlier runs that were killed have left."""
        with _explained(self.path):
            earlier = _tokens(self._connection)
            self._connection.execute("INSERT INTO unfinished VALUES (?)", (self._token,))
            for token in earlier:
                remove_unfinished(self.path.parent, token)
                self._connection.execute("DELETE FROM unfinished WHERE token = ?", (token,))
            folder = unfinished(self.path.parent, self._token).absolute()
            folder.mkdir()
        return folder

    def record(self, outcome: Outcome) -> None:
        """Note what came of a picture; it is on the disk when this returns."""
        good = outcome.error is None
        row = (
            json.dumps(outcome.fingerprint) if good else None,
            None if good else json.dumps(outcome.error),
            outcome.result if good else None,
            outcome.number,
        )
        with _explained(self.path):
            self._connection.execute("UPDATE pictures SET fingerprint = ?, error = ?, result = ? WHERE number = ?", row)

    def confirm(self, fingerprints: Mapping[int, Fingerprint]) -> None:
        """Note the fingerprints of files whose bytes are those of before."""
        rows = [(json.dumps(fingerprint), number) for number, fingerprint in fingerprints.items()]
        self._change("UPDATE pictures SET fingerprint = ? WHERE number = ?", rows)

    def reopen(self, numbers: Iterable[int]) -> None:
        """Forget the results of pictures."""
        sql = "UPDATE pictures SET fingerprint = NULL, error = NULL, result = NULL WHERE number = ?"
        self._change(sql, [(number,) for number in numbers])

    def done(self) -> set[int]:
        """Return the numbers of the pictures that have a result."""
        return {number for (number,) in self._select("SELECT number FROM pictures WHERE result NOTNULL")}

    def fingerprints(self) -> dict[int, Fingerprint]:
        """Return the fingerprints of the pictures that have a result, by their numbers."""
        rows = self._select("SELECT number, fingerprint FROM pictures WHERE result NOTNULL ORDER BY number")
        return {number: Fingerprint(*json.loads(fingerprint)) for number, fingerprint in rows}

    def bad(self) -> list[BadPicture]:
        """Return the bad pictures in order."""
        rows = self._select("SELECT source, error FROM pictures WHERE error NOTNULL ORDER BY number")
        return [BadPicture(json.loads(source), json.loads(error)) for source, error in rows]

    def results(self) -> Iterator[MaskedPicture]:
        """Yield the pictures that have a result, in order."""
        for (result,) in self._select("SELECT result FROM pictures WHERE result NOTNULL ORDER BY number"):
            yield unpack(result)

    def mask_count(self, number: int) -> int:
        """Return how many masks a picture has that is done."""
        ((result,),) = self._select("SELECT result FROM pictures WHERE number = ?", number)
        return len(unpack(result).records)

    def close_finished(self) -> None:
        """Close the journal, rewritten so that its bytes depend on its content alone, not on the order of events."""
        fresh = finished_journal(self.path.parent, self._token)
        with _explained(self.path):
            self._connection.execute("ATTACH ? AS fresh", (os.fsencode(fresh),))
            self._connection.executescript(_SCHEMA.format(version=_VERSION).replace("main.", "fresh."))
            for table in ("about", "pictures"):
                self._connection.execute(f"INSERT INTO fresh.{table} SELECT * FROM main.{table} ORDER BY 1")
            self._connection.close()
            # Until the last step, the journal in place knows the token of what lies in the folder.
            shutil.rmtree(unfinished(self.path.parent, self._token), ignore_errors=True)
            fresh.replace(self.path)

    def _select(self, sql: str, *parameters: int) -> Iterator[Any]:
        with _explained(self.path):
            yield from self._connection.execute(sql, parameters)

    def _change(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with _explained(self.path), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(sql, rows)

    def _check(self, about: Mapping[str, Any], pictures: Sequence[Planned]) -> None:
        ((version,),) = self._select("PRAGMA user_version")
        if version != _VERSION:
            self._refuse("find a journal of this version of mobilesam", "one of another version")
        before = _planned(self._connection)
        if before != list(pictures):
            other = sorted(set(before) ^ set(pictures)) or [Planned("another order", "")]
            count = f"{len(pictures)}, and a difference at {other[0].source}"
            self._refuse(f"be given the same {len(before)} pictures as before", count)
        earlier = {key: json.loads(value) for key, value in self._select("SELECT key, value FROM about")}
        now = json.loads(json.dumps(about))
        for key in sorted({*earlier, *now}):
            if earlier.get(key) != now.get(key):
                self._refuse(f"do the same as before ({key} {earlier.get(key)!r})", repr(now.get(key)))

    def _refuse(self, requirement: str, actual: str) -> None:
        remedy = "choose another --out, or start again with --force"
        raise InputError(sentence(f"--resume into {self.path.parent}", requirement, actual, remedy))


def refuse_journal(path: Path, *, resume: bool, force: bool) -> None:
    """Raise InputError if there is a journal and neither ``resume`` nor ``force`` is given."""
    if path.exists() and not (resume or force):
        remedy = "go on with --resume, start again with --force, or choose another --out"
        raise InputError(sentence("output file", "not exist yet", path, remedy))


def planned_before(path: Path) -> list[Planned]:
    """Return the pictures of an earlier run, or none if there is no journal.

    Raises:
        InputError: the file is no journal.
    """
    if not _is_started(path):
        return []
    with _explained(path), closing(sqlite3.connect(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return _planned(connection) if version == _VERSION else []


def pack(picture: MaskedPicture) -> bytes:
    """Return a picture and its masks as bytes; :func:`unpack` gives them back."""
    return zlib.compress(json.dumps([picture.file_name, picture.hw, picture.records]).encode())


def unpack(result: bytes) -> MaskedPicture:
    """Return what :func:`pack` packed.

    Raises:
        InputError: the bytes are damaged.
    """
    try:
        file_name, (height, width), records = json.loads(zlib.decompress(result))
    except (zlib.error, ValueError, TypeError) as error:
        remedy = "start again with --force"
        raise InputError(
            sentence("each result in the journal", "be whole", f"a damaged one ({error})", remedy)
        ) from error
    return MaskedPicture(file_name, (height, width), records)


def _is_started(path: Path) -> bool:
    """Return whether there is a journal in which a run has begun: one that was killed before leaves an empty file."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.Error as error:
        remedy = "choose another --out, or start again with --force"
        raise InputError(sentence("the journal", "be one of mobilesam batch", f"{path} ({error})", remedy)) from error


def _create(path: Path, about: Mapping[str, Any], pictures: Sequence[Planned]) -> None:
    """Put a new journal in the place of an earlier one, and remove what that one's run has not finished."""
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(path)) as earlier:
        for token in _tokens(earlier):
            remove_unfinished(path.parent, token)
    with _explained(path):
        try:
            for old in (path, path.with_name(path.name + "-journal")):
                old.unlink(missing_ok=True)
            with closing(sqlite3.connect(path, isolation_level=None)) as fresh:
                fresh.executescript("BEGIN;" + _SCHEMA.format(version=_VERSION))
                fresh.executemany("INSERT INTO about VALUES (?, ?)", [(k, json.dumps(v)) for k, v in about.items()])
                rows = (
                    (number, json.dumps(each.source), json.dumps(each.name)) for number, each in enumerate(pictures)
                )
                fresh.executemany("INSERT INTO pictures (number, source, name) VALUES (?, ?, ?)", rows)
                fresh.execute("COMMIT")
        except sqlite3.Error:
            path.unlink(missing_ok=True)
            raise


def _planned(connection: sqlite3.Connection) -> list[Planned]:
    rows = connection.execute("SELECT source, name FROM pictures ORDER BY number")
    return [Planned(json.loads(source), json.loads(name)) for source, name in rows]


def _tokens(connection: sqlite3.Connection) -> list[str]:
    return [token for (token,) in connection.execute("SELECT token FROM unfinished")]


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what goes wrong with the journal's file into a sentence."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise InputError(
            f"The journal {path} cannot be read or written ({error}). "
            "Free some space if the disk is full, then go on with --resume."
        ) from error
