"""Images in archives: WebDataset's tar files, and Parquet files with a column of images, as Hugging Face writes them.

The names are read in order, and the bytes of an image only when they are needed, so that an archive may have any size.
"""

from __future__ import annotations

import contextlib
import functools
import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from mobilesam import storage
from mobilesam.errors import InputError, sentence
from mobilesam.files import MALFORMED
from mobilesam.formats.parquet import require_pyarrow
from mobilesam.image.read import MAX_BYTES, SUFFIXES
from mobilesam.storage import Place

ARCHIVES = (".tar", ".parquet")

_HEADER_BYTES = 2**20  # of a header of a tar file, which may hold a long name
_NAMES = 4096  # read at once
_ROWS = 4  # images read at once
_END: Any = object()


class Member(NamedTuple):
    """An image in an archive: its name, a text that changes with its place in the archive, and its bytes.

    ``content`` must be called before the next member is taken, or at least in the order of the members, while the
    archive is open. It raises InputError.
    """

    name: str
    version: str
    content: Callable[[], bytes]


@contextlib.contextmanager
def members(archive: Place) -> Iterator[Iterator[Member]]:
    """Open an archive, and yield an iterator of its images, which raises InputError where the archive is damaged.

    Raises:
        InputError: it is not an archive, or cannot be read.
        MissingDependencyError: a Parquet file needs pyarrow, which is not installed.
    """
    if str(archive).lower().endswith(".parquet"):
        require_pyarrow()
        with storage.opened(archive, block=2**20) as file, _parquet_file(archive, file) as table:
            yield _rows(archive, table)
    else:
        with storage.opened(archive) as file:
            yield _tar_members(archive, file)


class _Headers:
    """A file of which only headers are read: a larger part is refused before it is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.tell, self.seek, self._file = file.tell, file.seek, file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _tar_members(archive: Place, file: BinaryIO) -> Iterator[Member]:
    complete, name = file.seek(0, 2), ""
    file.seek(0)
    try:
        tar = tarfile.TarFile(fileobj=_Headers(file))  # type: ignore[arg-type]
        before = -1
        while (member := tar.next()) is not None:
            vars(tar)["members"].clear()  # of a tar of any number of members, one is in memory
            name = member.name
            if tar.offset <= before:
                raise tarfile.ReadError("a member of a negative size")
            before = tar.offset
            if member.offset_data + member.size > complete:
                raise _cut(archive, name)
            if member.isreg() and not member.issparse() and _is_image(name):
                content = functools.partial(_part, archive, file, name, member.offset_data, member.size)
                yield Member(name, f"{member.offset_data} {member.size}", content)
        file.seek(tar.offset)
        end = file.read(tarfile.BLOCKSIZE)
    except (*MALFORMED, tarfile.TarError) as error:
        if isinstance(error, InputError):
            raise
        if not name:
            remedy = "give an uncompressed tar file"
            raise InputError(sentence(str(archive), "be a tar file", f"another one ({error})", remedy)) from error
        raise InputError(f"{archive} is damaged after {name!r} ({error}). Get the file again.") from error
    if end != bytes(tarfile.BLOCKSIZE):
        raise _cut(archive, name)


def _cut(archive: Place, name: str) -> InputError:
    where = f"at {name!r}" if name else "in its first header"
    return InputError(f"{archive} is cut {where}: its end is missing. The images before are used; get the file again.")


def _part(archive: Place, file: BinaryIO, name: str, start: int, size: int) -> bytes:
    """Return the bytes of a member of a tar."""
    if size > MAX_BYTES:
        actual = f"{name} in {archive} of {size / 2**30:.1f} GiB"
        raise InputError(sentence("image", "have at most 1 GiB", actual, "shrink it"))
    with storage.explained(f"{name} in {archive}", "read"):
        file.seek(start)
        content = file.read(size)
    if len(content) < size:
        raise _cut(archive, name)
    return content


@contextlib.contextmanager
def _parquet_file(archive: Place, file: BinaryIO) -> Iterator[Any]:
    from pyarrow import ArrowException, parquet

    with contextlib.ExitStack() as stack:
        try:
            table = stack.enter_context(parquet.ParquetFile(file, buffer_size=2**20))
        except (*MALFORMED, ArrowException) as error:
            actual, remedy = f"another one ({error})", "check the file"
            raise InputError(sentence(str(archive), "be a Parquet file", actual, remedy)) from error
        yield table


def _rows(archive: Place, table: Any) -> Iterator[Member]:
    from pyarrow import ArrowException

    column, is_struct, has_path = _image_column(archive, table.schema_arrow)
    cursor = _Cursor(archive, table, f"{column}.bytes" if is_struct else column)
    row = 0
    try:
        for group in range(table.num_row_groups):
            groups: dict[str, Any] = {"row_groups": [group], "use_threads": False}
            count = table.metadata.row_group(group).num_rows
            named = table.iter_batches(_NAMES, columns=[f"{column}.path"], **groups) if has_path else ()
            paths = (value.as_py() for batch in named for value in batch.column(0))
            for place in range(count):
                named_row = next(paths, _END) if has_path else None
                if named_row is _END or cursor.ended:
                    raise ValueError("it has fewer rows than its header says")
                name = (named_row or {}).get("path") or f"{row:08}"
                yield Member(name, str(row), functools.partial(cursor.content, group, place, row))
                row += 1
    except (*MALFORMED, ArrowException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{archive} is damaged at row {row} ({error}). Get the file again.") from error


def _image_column(archive: Place, schema: Any) -> tuple[str, bool, bool]:
    """Return the name of the column of images, whether it is a struct, and whether that has paths."""
    import pyarrow.types as types

    def is_binary(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def is_image(kind: Any) -> bool:
        inner = {kind.field(place).name: kind.field(place).type for place in range(kind.num_fields)}
        return is_binary(kind) or (types.is_struct(kind) and "bytes" in inner and is_binary(inner["bytes"]))

    fitting = [field for field in schema if is_image(field.type)]
    named = [field for field in schema if field.name == "image"]
    chosen = [field for field in fitting if field in named] if named else fitting
    if len(chosen) != 1:
        kinds = "; ".join(f"{field.name}: {field.type}" for field in (named or fitting or schema))
        requirement = "have one column of images, binary or a struct with bytes"
        remedy = "rename the column of images to image"
        raise InputError(sentence(str(archive), requirement, kinds[:200] or "no column", remedy))
    (field,) = chosen
    if not types.is_struct(field.type):
        return field.name, False, False
    place = field.type.get_field_index("path")
    path_type = field.type.field(place).type if place >= 0 else None
    return field.name, True, path_type is not None and (types.is_string(path_type) or types.is_large_string(path_type))


class _Cursor:
    """Reads the images of a Parquet file in order, and passes over those that are not needed.

    ended: whether a row group had fewer images than rows.
    """

    def __init__(self, archive: Place, table: Any, column: str) -> None:
        self._archive, self._table, self._column = archive, table, column
        self._group, self._next = -1, 0
        self.ended = False
        self._values: Iterator[Any] = iter(())

    def content(self, group: int, place: int, row: int) -> bytes:
        """Return the image at a place in a row group; ``row`` stands for it in messages."""
        try:
            if group != self._group or place < self._next:
                options = {"row_groups": [group], "columns": [self._column], "use_threads": False}
                batches = self._table.iter_batches(_ROWS, **options)
                self._group, self._next = group, 0
                self._values = (value for batch in batches for value in batch.column(0))
            while self._next < place:
                next(self._values)
                self._next += 1
            value = next(self._values).as_py()
            self._next += 1
        except Exception as error:  # storage and pyarrow may raise any exception
            self._group = -1
            self.ended |= isinstance(error, StopIteration)
            reason = f"{error or type(error).__name__}"
            raise InputError(f"Row {row} of {self._archive} cannot be read ({reason}). Check the file.") from error
        content = value.get("bytes") if isinstance(value, dict) else value
        if not content:
            actual = f"row {row} of {self._archive}, which has no bytes"
            raise InputError(sentence("image", "have bytes", actual, "write the images into the Parquet file"))
        if len(content) > MAX_BYTES:
            raise InputError(sentence("image", "have at most 1 GiB", f"row {row} of {self._archive}", "shrink it"))
        return bytes(content)


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(part[0] == "." for part in path.parts if part != "..")
