"""What the message says that a wrong file looks like."""

from __future__ import annotations

import pytest

from mobilesam.file_kind import describe


@pytest.mark.parametrize(
    ("head", "description"),
    [
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"\xff\xd8\xff\xe0 cut", "a JPEG"),
        (b"\0\0\0\x18ftypheic", "a HEIC or AVIF photo"),
        (b"\0\0\0\x18ftypisom", "an MP4 video"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html>", "an HTML page"),
        (b"<html><body>404", "an HTML page"),
        (b'<?xml version="1.0"?><svg width="3">', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "text beginning 'version https://git-lfs.'"),
        ("größe\t1".encode(), "text beginning 'größe 1'"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "data beginning with the bytes 01 02 03 04 05 06 07 08"),
        (b"\xfe\xff", "data beginning with the bytes fe ff"),
    ],
)
def test_describe(head: bytes, description: str) -> None:
    assert describe(head) == description
