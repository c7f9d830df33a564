"""What the engine of a server takes and returns: images, embeddings, candidate masks, clients."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from mobilesam.errors import MobileSamError
from mobilesam.model import Embedding
from mobilesam.segment import Candidates


@dataclass(frozen=True)
class OpenImage:
    """An image that was read.

    digest: sha256 of the pixels, the key of everything computed from them. hw: (height, width). name: of the file.
    note: a remark for the user on how the file was read.
    """

    digest: str
    hw: tuple[int, int]
    name: str
    note: str = ""

    @property
    def key(self) -> str:
        """The name of the image in requests of the page; it tells a click on an earlier image from one on this."""
        return self.digest[:16]


class Encoded(NamedTuple):
    """An embedding, and the time of the encoder, milliseconds."""

    embedding: Embedding
    ms: float


@dataclass(frozen=True, eq=False)
class CandidateMasks:
    """The candidate masks of a prompt; ``masks.best`` is suggested.

    input_hw: as in Embedding. decode_ms: the time of the decoder call, milliseconds. refined: False if the prompt had
    steps that the model cannot follow, so that the points and the box alone were used.
    """

    masks: Candidates
    input_hw: tuple[int, int]
    decode_ms: float = 0.0
    refined: bool = True


class LeftError(MobileSamError):
    """The client of a request is no longer connected, so that the rest of its work is left out."""


@dataclass(frozen=True)
class Client:
    """Who a request is from: clients take turns in the queues. ``left`` is set when it disconnects."""

    name: str = ""
    left: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise LeftError if the client is no longer connected."""
        if self.left.is_set():
            raise LeftError("The client is no longer connected.")
