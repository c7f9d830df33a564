"""The images of inputs that are not all local image files, in parts, so that any number of images may be given.

Inputs are images, folders, globs, lists and archives (see :mod:`mobilesam.batch.archives`), as paths or URLs. The name
of an image is its path below the folder that contains all inputs; images of an archive are in a folder of its name.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mobilesam import storage
from mobilesam.batch.archives import ARCHIVES, Member, members
from mobilesam.batch.sources import expand, names_in_list
from mobilesam.batch.tasks import ListedTask
from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_TEXT_BYTES
from mobilesam.image.read import SUFFIXES
from mobilesam.storage import Place, is_url

PART = 32  # images; the results of a part are recorded together


class Listed(NamedTuple):
    """An image of an input.

    source: its place, or that of its archive and its name there. name: in the results. stem: of its files, with their
    folder. version: changes with its bytes; empty if that is not known. content: returns its bytes, if it is in an
    archive; must be called before the next part is taken. error: why it cannot be used.
    """

    source: str
    name: str
    stem: str
    version: str = ""
    content: Callable[[], bytes] | None = None
    error: str = ""

    def load(self, task: ListedTask) -> ListedTask:
        """Return the task of this image with its bytes, if it is in an archive, or with an error."""
        if self.error or task.error or self.content is None:
            return replace(task, error=self.error or task.error)
        try:
            return replace(task, content=self.content())
        except InputError as error:
            return replace(task, error=str(error))


class _File(NamedTuple):
    place: Place
    version: str
    ordered: bool  # whether files with equal beginnings follow each other


def needs_listing(inputs: Sequence[str], out: Place) -> bool:
    """Return whether the images must be taken from here: an input or the folder of results is a URL, or in an archive.

    Other inputs are those of :func:`mobilesam.batch.sources.find_images`.
    """

    def is_other(name: str) -> bool:
        return is_url(name) or (name.lower().endswith(ARCHIVES) and not Path(name).is_dir())

    def has_other(name: str) -> bool:
        is_list = name.lower().endswith(".txt") and Path(name).is_file()
        return is_other(name) or (is_list and any(is_other(source.path) for source in expand(name, None)))

    return not isinstance(out, Path) or any(map(has_other, inputs))


class Listing:
    """The images of inputs, see :func:`mobilesam.batch.sources.find_images`, which also may be URLs and archives.

    A folder contains its image files; archives are named, or matched by a glob.

    Raises:
        InputError: an input is the folder of the results or in it, or an input is in another one.
    """

    def __init__(self, inputs: Sequence[str], out: Place) -> None:
        self._inputs, self._out = list(dict.fromkeys(inputs)), out
        self._patterns = {each for each in self._inputs if _is_pattern(each)}
        bases = [self._base(each) for each in self._inputs]
        levels = zip(*(base.split("/") for base in bases), strict=False)
        self._root = "/".join(names[0] for names in itertools.takewhile(lambda names: len({*names}) == 1, levels))
        below_out, given = _full(out) + "/", {*map(_full, self._inputs)}
        for each, base in zip(self._inputs, bases, strict=True):
            if f"{base}/".startswith(below_out):
                raise InputError(sentence("--out", "not be a folder of images", out, "choose another folder"))
            above = next((folder for folder in _folders_above(_full(each)) if folder in given), None)
            if above is not None:
                raise InputError(sentence("INPUT", "not be in another one", f"{each} in {above}", "leave it out"))
            next(self._files(each), None)  # what cannot be listed is reported before the run

    def parts(self) -> Iterator[list[Listed]]:
        """Yield at most :data:`PART` images at a time.

        An archive that cannot be read, or not to its end, is an image with an error after those before.

        Raises:
            InputError: an input cannot be listed, or there is no image.
        """
        empty = True
        for each in self._inputs:
            for part in self._parts(each):
                empty = False
                yield part
        if empty:
            remedy = "check the path; name archives themselves, as in photos/*.tar"
            raise InputError(sentence("INPUT", "contain an image", f"none in {', '.join(self._inputs)}", remedy))

    def _parts(self, each: str) -> Iterator[list[Listed]]:
        images: list[Listed] = []
        stems = _Stems()
        for file in self._files(each):
            source, name = str(file.place), _safe(self._relative(_full(file.place)))
            stem = stems.of(name, ordered=file.ordered)
            if source.lower().endswith(ARCHIVES):
                if images:
                    yield images
                images = []
                with contextlib.ExitStack() as stack:
                    yield from _in_parts(_listed_members(file, stem, stack))
            else:
                images.append(Listed(source, name, stem, file.version))
            if len(images) == PART:
                yield images
                images = []
        if images:
            yield images

    def _files(self, each: str) -> Iterator[_File]:
        if not is_url(each):
            out = self._out if isinstance(self._out, Path) else None
            ordered = not each.lower().endswith(".txt")
            for source in expand(each, out):
                where = storage.place(source.path)
                yield _File(where, "" if is_url(source.path) else storage.version(where), ordered)
        elif each.lower().endswith(".txt"):
            text = storage.read(each, MAX_TEXT_BYTES).decode("utf-8-sig", "replace")
            yield from (_File(storage.place(name), "", False) for name in names_in_list(text, each))
        elif each not in self._patterns and each.lower().endswith((*SUFFIXES, *ARCHIVES)):
            yield _File(each, storage.version(each), True)
        else:
            yield from self._matching(each)

    def _matching(self, each: str) -> Iterator[_File]:
        """Yield the images in a folder that is a URL, or the files that match a glob."""
        folder, pattern, matches = storage.place(each), "", re.compile("")
        if each in self._patterns:
            folder, pattern = _fixed(each)
            matches = _compiled(pattern)
        out = _full(self._out) + "/"
        literal = re.split(r"[*?\[]", pattern)[0]
        for stored in storage.walk(folder, literal):
            where = storage.join(folder, stored.name)
            hidden = any(part.startswith(".") for part in stored.name.split("/"))
            used = matches.fullmatch(stored.name) if pattern else stored.name.lower().endswith(SUFFIXES)
            if used and not hidden and not str(where).startswith(out):
                yield _File(where, stored.version, True)

    def _base(self, each: str) -> str:
        """Return the folder that the names of an input's images begin after."""
        if each in self._patterns:
            return _full(_fixed(each)[0])
        is_file = each.lower().endswith((*SUFFIXES, *ARCHIVES, ".txt")) if is_url(each) else not Path(each).is_dir()
        full = _full(storage.place(each))
        return full.rpartition("/")[0] if is_file else full

    def _relative(self, full: str) -> str:
        return full.removeprefix(f"{self._root}/") if self._root else full


def _listed_members(file: _File, folder: str, stack: contextlib.ExitStack) -> Iterator[Listed]:
    """Yield the images of an archive, which ``stack`` keeps open, and last what is wrong with it."""
    stems, archive = _Stems(), str(file.place)
    version = file.version or storage.version(file.place)

    def listed(member: Member) -> Listed:
        name = f"{folder}/{_safe(member.name) or 'unnamed'}"
        error = sentence("the name of an image", "be text", repr(member.name), "rename it") if "\0" in name else ""
        stem = stems.of(name, ordered=False)
        return Listed(f"{archive}/{member.name}", name, stem, f"{version} {member.version}", member.content, error)

    try:
        images = stack.enter_context(members(file.place))
        yield from map(listed, images)
    except InputError as error:
        yield Listed(archive, folder, folder, version, None, str(error))


def _in_parts(images: Iterator[Listed]) -> Iterator[list[Listed]]:
    while part := [*itertools.islice(images, PART)]:
        yield part


class _Stems:
    """Unique names of the files of images: without the suffix, or with it if that is taken, as of cat.jpg and cat.png.

    Where names with equal beginnings follow each other, only those that the next one may be equal to are in memory.
    """

    def __init__(self) -> None:
        self._taken: dict[str, None] = {}

    def of(self, name: str, *, ordered: bool) -> str:
        while ordered and self._taken and not name.startswith(f"{next(reversed(self._taken))}."):
            self._taken.popitem()
        suffix = PurePosixPath(name).suffix
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        possible = itertools.chain((name.removesuffix(suffix), name), numbered)
        stem = next(each for each in possible if each not in self._taken)
        self._taken[stem] = None
        return stem


def _full(where: Place | str) -> str:
    """Return a URL, or an absolute path with slashes."""
    return str(where) if is_url(where) else Path(os.path.abspath(where)).as_posix()  # noqa: PTH100 (without links)


def _folders_above(full: str) -> Iterator[str]:
    """Yield the folders above a URL or a path, the largest first."""
    return (full[: match.start()] for match in re.finditer("/", full))


def _is_pattern(each: str) -> bool:
    """Return whether an input is a glob, and not the name of a file or a folder that has such characters."""
    if not glob.has_magic(each):
        return False
    if not is_url(each):
        return not os.path.lexists(each)
    where = storage.place(each)
    return not storage.exists(where) and next(storage.walk(where), None) is None


def _fixed(pattern: str) -> tuple[str, str]:
    """Return the folder of a glob that has no magic characters, and the rest of it."""
    before = re.split(r"[*?\[]", pattern)[0]
    folder = before.rpartition("/")[0]
    return (folder or ".", pattern[len(folder) + 1 if folder else 0 :])


def _compiled(rest: str) -> re.Pattern[str]:
    from fsspec.utils import glob_translate

    # Within a name, two asterisks mean the same as one.
    parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in rest.split("/")]
    return re.compile(glob_translate("/".join(parts)))


def _safe(name: str) -> str:
    """Return a name that stays in its folder: without .. and without a slash at its beginning."""
    parts = PurePosixPath(re.sub(r"^[a-z0-9+.-]+://", "", name.replace("\\", "/"))).parts
    return "/".join(part for part in parts if part.strip("/") not in ("", ".."))
