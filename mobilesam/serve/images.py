"""The images of a server by their identifier, the sha256 of the file."""

from __future__ import annotations

import hashlib
import re

from mobilesam.serve.cache import ByteCache
from mobilesam.serve.engine import Engine
from mobilesam.serve.failures import ExpiredError
from mobilesam.serve.values import Client, OpenImage

_KNOWN_BYTES = 10_000_000  # of identifiers in memory, about 300 bytes each


class UnknownImageError(ExpiredError):
    """No image has the identifier."""

    def __init__(self, image_id: object) -> None:
        super().__init__(f"The server has no image {str(image_id)[:80]!r}. Upload the image again.")


class Images:
    """The images of a server.

    An image whose embedding is in the folder of the engine is known without its pixels, and to every server that uses
    the folder. Pixels and embeddings in memory are dropped as the caches of the engine need room.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: ByteCache[OpenImage] = ByteCache(_KNOWN_BYTES)

    def add(self, content: bytes, client: Client) -> tuple[str, OpenImage]:
        """Read an image file in the queue of the encoders, and return its identifier and the image.

        Raises:
            InputError: the content is not an image within the limits.
            BusyError: the queue is full.
            LeftError: the client is no longer connected.
        """
        image_id = hashlib.sha256(content).hexdigest()
        known = self._known.get(image_id)
        if known is not None and self._engine.images.get(known.digest) is not None:
            return image_id, known

        def read() -> OpenImage:
            client.check()
            return self._engine.read(content, "the file")

        image = self._engine.encoders.run(read, client.name)
        self._known.put(image_id, image, 300)
        if self._engine.folder is not None:
            self._engine.folder.add_file(image_id, image.digest, image.hw)
        return image_id, image

    def get(self, image_id: object) -> OpenImage:
        """Return the image with an identifier.

        Raises:
            UnknownImageError: it is unknown, or was dropped.
        """
        if not isinstance(image_id, str) or not re.fullmatch(r"[0-9a-f]{64}", image_id):
            raise UnknownImageError(image_id)
        image = self._known.get(image_id) or self._of_folder(image_id)
        if image is None or not self._is_usable(image):
            raise UnknownImageError(image_id)
        return image

    def _of_folder(self, image_id: str) -> OpenImage | None:
        known = None if self._engine.folder is None else self._engine.folder.image_of_file(image_id)
        if known is None:
            return None
        image = OpenImage(*known, "image")
        self._known.put(image_id, image, 300)
        return image

    def _is_usable(self, image: OpenImage) -> bool:
        """Return whether the default model can decode prompts of an image without another upload."""
        engine, name = self._engine, self._engine.models.default
        if engine.images.get(image.digest) is not None or engine.embeddings.get((name, image.digest)) is not None:
            return True
        return engine.folder is not None and engine.folder.has(image.digest, engine.models.get(name))
