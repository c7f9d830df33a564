"""Description of a file by its first bytes, for messages about unexpected content."""

from __future__ import annotations

_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"RIFF", "a WebP, AVI or WAV file"),
    (b"II*\0", "a TIFF or raw photo"),
    (b"MM\0*", "a TIFF or raw photo"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x02", "a Python pickle"),
)
_STILL_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"avif")


def describe(head: bytes) -> str:
    """Return the kind of a file by its first bytes (about 500): "a PDF" or "text beginning 'hello'"."""
    for signature, description in _SIGNATURES:
        if head.startswith(signature):
            return description
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF photo" if head[8:12] in _STILL_BRANDS else "an MP4 video"
    text = " ".join(head.decode("utf-8", errors="ignore").lstrip("\ufeff").split())
    if text[:5].lower() in ("<html", "<!doc"):
        return "an HTML page"
    if "<svg" in text:
        return "an SVG drawing"
    if text.isprintable() and text:
        return f"text beginning {text[:24]!r}"
    return f"data beginning with the bytes {head[:8].hex(' ')}"
