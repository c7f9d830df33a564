"""The file of a journal: its schema, its creation, and its errors."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.batch.folder import is_token, remove_unfinished
from mobilesam.errors import InputError, sentence
from mobilesam.files import parse_json

VERSION = 4  # of the schema and of the keys in the table about
# Texts and fingerprints are JSON, which can also encode file names that are not Unicode.
SCHEMA = f"""
PRAGMA main.user_version = {VERSION};
CREATE TABLE main.about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE main.images (
    number INTEGER PRIMARY KEY, source TEXT NOT NULL, name TEXT NOT NULL, fingerprint TEXT, error TEXT, result BLOB
);
CREATE TABLE main.unfinished (token TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_DISK_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quotas


class Planned(NamedTuple):
    """An image of a run, and the name of its files in the folder of the results, such as ``sub/cat``."""

    source: str
    name: str


def refuse_journal(path: Path, *, resume: bool, force: bool) -> None:
    """Raise InputError if there is a journal and neither ``resume`` nor ``force`` is given."""
    if path.exists() and not (resume or force):
        remedy = "continue the run with --resume, start again with --force, or choose another --out"
        raise InputError(sentence("output file", "not exist yet", path, remedy))


def planned_before(path: Path) -> list[Planned]:
    """Return the images of an earlier run, or none if there is no journal.

    Raises:
        InputError: the file is not a journal, or is damaged.
    """
    if not tables(path):
        return []
    with explained(path), closing(sqlite3.connect(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return planned(connection) if version == VERSION else []


def create(path: Path, about: Mapping[str, Any], images: Sequence[Planned]) -> None:
    """Write a new journal in place of an earlier one, and remove the unfinished files of the earlier run.

    Raises:
        InputError: another file has this name, or the journal cannot be written.
    """
    if "unfinished" in tables(path):
        with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(path)) as earlier:
            for token in tokens(earlier):
                remove_unfinished(path.parent, token)
    with explained(path):
        try:
            for old in (path, path.with_name(path.name + "-journal")):
                old.unlink(missing_ok=True)
            with closing(sqlite3.connect(path, isolation_level=None)) as fresh:
                fresh.executescript("BEGIN;" + SCHEMA)
                fresh.executemany("INSERT INTO about VALUES (?, ?)", [(k, json.dumps(v)) for k, v in about.items()])
                rows = ((number, json.dumps(each.source), json.dumps(each.name)) for number, each in enumerate(images))
                fresh.executemany("INSERT INTO images (number, source, name) VALUES (?, ?, ?)", rows)
                fresh.execute("COMMIT")
        except sqlite3.Error:
            path.unlink(missing_ok=True)
            raise


def planned(connection: sqlite3.Connection) -> list[Planned]:
    """Return the images of a journal.

    Raises:
        InputError: the journal is damaged.
    """
    rows = connection.execute("SELECT number, source, name FROM images ORDER BY number").fetchall()
    images = [Planned(parsed(source), parsed(name)) for _, source, name in rows]
    texts = all(isinstance(text, str) for image in images for text in image)
    if not texts or [number for number, *_ in rows] != list(range(len(rows))):
        raise damaged("its list of images is incomplete")
    return images


def tokens(connection: sqlite3.Connection) -> list[str]:
    """Return the tokens of runs that have not ended, without values that are not tokens and could be other paths."""
    return [token for (token,) in connection.execute("SELECT token FROM unfinished") if is_token(token)]


def parsed(text: Any) -> Any:
    """Return the value of a JSON text in a journal.

    Raises:
        InputError: the text is damaged.
    """
    try:
        return parse_json(text)
    except (TypeError, ValueError) as error:
        raise damaged(str(error)) from error


def damaged(reason: str) -> InputError:
    """Return the error for a journal with damaged content."""
    return InputError(f"The journal is damaged ({reason}). Start again with --force.")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise InputError in place of errors of SQLite and of the file system."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"The journal {path} cannot be read or written ({error}). {_remedy(error)}") from error


def _remedy(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        full = error.errno in _DISK_FULL
        return f"{'Free some space' if full else 'Check its folder'}, then run again with --resume."
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "Free some space if the disk is full, then run again with --resume."
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "Another program has it open. Close that program, then run again with --resume."
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return "Check the permissions of the file and its folder, then run again with --resume."
    return "Start again with --force."


def tables(path: Path) -> set[str]:
    """Return the names of the tables of a journal; none if it does not exist, or its run was killed before it began.

    Raises:
        InputError: the file is not a journal.
    """
    if not os.path.lexists(path):
        return set()
    names: set[str] | None = None
    if path.is_file():
        try:
            with closing(sqlite3.connect(path)) as connection:
                names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", -1) & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                with explained(path):
                    raise
    # Journals of earlier versions have one of the other two tables.
    if names is None or (names and not ("about" in names and names & {"images", "unfinished"})):
        raise InputError(f"{path.name} in {path.parent} is not a journal of mobilesam. Choose another --out.")
    return names
