"""The journal of a run whose images are listed in parts: files and markers, which any storage can hold.

In the folder ``batch.journal`` of the results, ``about.json`` has the settings. ``parts`` has the results of each part,
and ``done`` a marker for each, which is written after them: an empty file whose name has the number of the part, a
digest of its images and prompts, and the number of its images without a result.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mobilesam import storage
from mobilesam.batch.journal import unpack
from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_TEXT_BYTES, parse_json
from mobilesam.formats.masked_image import MaskedImage
from mobilesam.storage import Place

NAME = "batch.journal"
VERSION = 1
_MAX_BYTES = 2**31


class Entry(NamedTuple):
    """What is known of an image: its identity, see :func:`identity`, its source, and its result or an error."""

    identity: str
    source: str
    error: str | None
    problems: tuple[str, ...]
    result: bytes


class Marker(NamedTuple):
    """The name of a marker: of a part, its images, and the number of those without a result."""

    number: int
    digest: str
    unfinished: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.number:08}-{self.digest}-{self.unfinished}"


class PartJournal:
    """The parts of a run that are done. Markers are read in the order of their numbers, as the parts come."""

    def __init__(self, out: Place) -> None:
        self._out, self._folder = out, storage.join(out, NAME)
        self._about = storage.join(self._folder, "about.json")
        self._markers = self._listed()
        self._next: Marker | None = None
        self._count = 0

    def open(self, about: Mapping[str, Any], *, resume: bool, force: bool) -> None:
        """Begin the journal, or continue that of an earlier run.

        Raises:
            InputError: there is a journal and neither ``resume`` nor ``force`` is given, there are files without a
                journal, or the earlier run had other settings.
        """
        if force:
            for stored in storage.walk(self._folder):
                storage.remove(storage.join(self._folder, stored.name))
        elif storage.exists(self._about):
            if not resume:
                remedy = "continue the run with --resume, start again with --force, or choose another --out"
                raise InputError(sentence("output file", "not exist yet", self._about, remedy))
            self._check(json.loads(json.dumps(about)))
            self._next = next(self._markers, None)
            return
        elif any(not stored.name.startswith(".") for stored in storage.walk(self._out)):
            remedy = "choose another --out, or overwrite its files with --force"
            raise InputError(sentence("--out", "be empty or have the journal of a run", self._out, remedy))
        storage.write(self._about, json.dumps({"journal": VERSION, **about}, indent=1).encode())

    def discard(self) -> None:
        """Remove the journal of a run without images."""
        storage.remove(self._about)

    def markers_of(self, number: int) -> list[Marker]:
        """Return the markers of a part; numbers must increase."""
        markers = []
        while self._next is not None and self._next.number <= number:
            if self._next.number == number:
                markers.append(self._next)
            self._next = next(self._markers, None)
        return markers

    def entries(self, number: int) -> list[Entry]:
        """Return what is recorded of the images of a part.

        Raises:
            InputError: the part is missing or damaged.
        """
        place = self._part(number)
        try:
            head, _, results = storage.read(place, _MAX_BYTES).partition(b"\n")
            entries, start = [], 0
            for identity, source, error, problems, size in parse_json(head):
                result = results[start : start + size]
                if len(result) < size or not (isinstance(identity, str) and isinstance(source, str)):
                    raise ValueError("a result is incomplete")
                entries.append(Entry(identity, source, error, tuple(problems), result))
                start += size
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{place} is damaged ({error}). Start again with --force.") from error
        return entries

    def write(self, marker: Marker, entries: Sequence[Entry], earlier: Sequence[Marker]) -> None:
        """Record a part: its results, its marker, and the removal of its earlier markers."""
        head = [[each.identity, each.source, each.error, each.problems, len(each.result)] for each in entries]
        content = json.dumps(head).encode() + b"\n" + b"".join(each.result for each in entries)
        storage.write(self._part(marker.number), content)
        storage.write(self._marker(marker), b"")
        self.remove([each for each in earlier if each != marker])

    def remove(self, markers: Sequence[Marker]) -> None:
        """Remove markers."""
        for marker in markers:
            storage.remove(self._marker(marker))

    def finish(self, count: int) -> None:
        """Set the number of parts, and remove those of a longer earlier run."""
        self._count = count
        late = [marker for marker in self._listed() if marker.number >= count]
        self.remove(late)
        for number in {marker.number for marker in late}:
            storage.remove(self._part(number))

    def all_entries(self) -> Iterator[Entry]:
        """Yield what is recorded of all images, in order, a part at a time; the run must be finished."""
        return itertools.chain.from_iterable(map(self.entries, range(self._count)))

    def images(self) -> Iterator[MaskedImage]:
        """Yield the images that have a result, in order."""
        return (unpack(entry.result) for entry in self.all_entries() if entry.error is None)

    def _part(self, number: int) -> Place:
        return storage.join(self._folder, f"parts/{number:08}")

    def _marker(self, marker: Marker) -> Place:
        return storage.join(self._folder, f"done/{marker.name}")

    def _listed(self) -> Iterator[Marker]:
        for stored in storage.walk(storage.join(self._folder, "done")):
            if parts := re.fullmatch(r"([0-9]{8,})-([0-9a-f]{32})-([0-9]+)", stored.name):
                yield Marker(int(parts[1]), parts[2], int(parts[3]))

    def _check(self, now: dict[str, Any]) -> None:
        try:
            before = parse_json(storage.read(self._about, MAX_TEXT_BYTES))
            version = before.pop("journal")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self._about} is damaged. Start again with --force.") from error
        changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        if version == VERSION and not changed:
            return
        reason = "another version of mobilesam wrote its journal"
        if version == VERSION:
            reason = f"{changed[0]} was {before.get(changed[0])!r} and is now {now.get(changed[0])!r}"
        raise InputError(
            f"The run in {self._out} cannot be resumed: {reason}. Choose another --out, or start again with --force."
        )
