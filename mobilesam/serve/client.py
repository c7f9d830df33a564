"""A client of ``mobilesam serve`` with the methods of :class:`mobilesam.SamPredictor`.

It needs neither torch nor ONNX Runtime where it runs, and no package beside NumPy, Pillow and OpenCV.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from mobilesam.arrays import BoolArray, FloatArray
from mobilesam.embedding import FEATURES_SHAPE
from mobilesam.errors import ImageNotSetError, InputError, MobileSamError, sentence
from mobilesam.files import read_bytes
from mobilesam.image.read import MAX_BYTES, read_image
from mobilesam.masks.rle import mask_of
from mobilesam.masks.run_lengths import boundaries_of_text
from mobilesam.serve.transport import ServerResponseError, Transport

_ROUTING = "Serve-Multiplexed-Model-Id"  # Ray's proxies send requests about an image to the replica that has it
_POLL = 0.2  # seconds
_EXPIRED = 410  # the server no longer has the image


class ClientPrediction(NamedTuple):
    """masks: (C, H, W) bool. iou_predictions: (C,) float32. confidence: (C,) float32, or None where it is not known."""

    masks: BoolArray
    iou_predictions: FloatArray
    confidence: FloatArray | None


class Client:
    """A connection to a server for one image at a time, used like :class:`mobilesam.SamPredictor`.

    Args:
        url: of the server, such as "http://127.0.0.1:8080".
        api_key: one of the server's, or None if it needs none.
        model: a name of the server's models; by default the first.
        timeout: seconds without a byte of the server.
        retries: attempts after the first, for a server that is busy or cannot be reached; the waits between them
            double from 0.2 seconds, or are those that the server requests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        model: str | None = None,
        timeout: float = 60.0,
        retries: int = 6,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(sentence("url", "begin with http:// or https://", repr(url), "write http://HOST:PORT"))
        self.url, self.model, self.retries = url.rstrip("/"), model, retries
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._transport = Transport(self.url, headers, timeout, retries)
        self._content = b""
        self._routing: dict[str, str] = {}
        self.image_id = ""
        self.original_size = (0, 0)

    def set_image(self, image: Any, image_format: str = "RGB") -> None:
        """Send an image, unless the server has it.

        Args:
            image: a path of an image file or its bytes, which are sent as they are, or what
                :meth:`mobilesam.SamPredictor.set_image` takes, which is sent as PNG.
            image_format: "RGB" or "BGR", the order of the channels of an array.

        Raises:
            InputError: the image cannot be read.
            ServerResponseError: the server refuses it, or cannot be reached.
        """
        if isinstance(image, str | Path):
            try:
                content = read_bytes(Path(image), MAX_BYTES)
            except OSError as error:
                actual = f"{image} ({error.strerror or error})"
                raise InputError(sentence("image", "be a file", actual, "check the path")) from error
        elif isinstance(image, bytes):
            content = image
        else:
            buffer = io.BytesIO()
            Image.fromarray(read_image(image, image_format)).save(buffer, "PNG", compress_level=1)
            content = buffer.getvalue()
        self._content, digest = content, hashlib.sha256(content).hexdigest()
        self._routing = {_ROUTING: digest}
        try:
            known = self._json("GET", f"/v1/images/{digest}")
        except ServerResponseError as error:
            if error.status != _EXPIRED:
                raise
            known = self._upload()
        self.image_id, self.original_size = known["image_id"], (known["height"], known["width"])

    def predict(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        multimask_output: bool = True,
    ) -> ClientPrediction:
        """Segment the object of a prompt; see :meth:`mobilesam.SamPredictor.predict`.

        Raises:
            ImageNotSetError: no image is set.
            InputError: a prompt cannot be used.
            ServerResponseError: the server refuses the request, or cannot be reached.
        """
        return self._predict(point_coords, point_labels, box, "all" if multimask_output else "single")

    def predict_one(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        select: str | None = None,
    ) -> ClientPrediction:
        """Segment the object of a prompt and return one mask; see :meth:`mobilesam.SamPredictor.predict_one`.

        Raises:
            ImageNotSetError, InputError, ServerResponseError: as :meth:`predict`.
        """
        return self._predict(point_coords, point_labels, box, select)

    def everything(self, mode: str = "exact", **settings: Any) -> Iterator[dict[str, Any]]:
        """Segment everything in the image.

        Returns:
            Records like those of ``SamAutomaticMaskGenerator``, whose bool masks are made one at a time.

        Args:
            mode: exact, balanced or fast.
            settings: those of the request ``POST /v1/everything``, such as ``points_per_side``.

        Raises:
            ImageNotSetError, InputError, ServerResponseError: as :meth:`predict`.
        """
        for attempt in range(self.retries + 1):
            job = self._about_image("/v1/everything", {"mode": mode, **settings})
            try:
                job = self._followed(job)
                break
            except ServerResponseError as error:
                if error.status != _EXPIRED or attempt == self.retries:  # else the replica with the run has ended
                    raise
        if job["state"] == "failed":
            raise ServerResponseError(0, job["error"])
        return ({**record, "segmentation": self._mask_of(record)} for record in job["masks"])

    def embedding(self) -> npt.NDArray[np.float16]:
        """Return the embedding of the image, (256, 64, 64) float16, to decode prompts here.

        It is what ``SamPredictor.features`` takes, as float32 and with the size of the image.

        Raises:
            ImageNotSetError, ServerResponseError: as :meth:`predict`.
        """
        path = f"/v1/images/{self.image_id}/embedding{self._query()}"
        content = self._with_image(lambda: self._transport.send("GET", path, None, self._routing))
        return np.frombuffer(content, "<f2").astype(np.float16).reshape(FEATURES_SHAPE[1:])

    def reset_image(self) -> None:
        """Remove the image."""
        self._content, self._routing, self.image_id = b"", {}, ""

    def _predict(
        self, coords: npt.ArrayLike | None, labels: npt.ArrayLike | None, box: npt.ArrayLike | None, select: str | None
    ) -> ClientPrediction:
        self._require_image()
        prompt: dict[str, Any] = {}
        if coords is not None:
            points, each = _numbers("point_coords", coords, 2), np.ravel(np.asarray([] if labels is None else labels))
            if len(points) != len(each):
                requirement = f"have one value for each of {len(points)} points"
                raise InputError(sentence("point_labels", requirement, len(each), "pass 1 or 0 for each"))
            prompt["points"] = [[*point, label] for point, label in zip(points, each.tolist(), strict=True)]
        if box is not None:
            prompt["box"], *more = _numbers("box", box, 4)
            if more:
                raise InputError(sentence("box", "be one box", f"{1 + len(more)}", "call predict for each"))
        body = {"prompts": [prompt]} | ({} if select is None else {"select": select})
        (records,) = self._about_image("/v1/segment", body)["objects"]
        confidences = [record["confidence"] for record in records]
        known = None if None in confidences else np.array(confidences, np.float32)
        ious = np.array([record["predicted_iou"] for record in records], np.float32)
        return ClientPrediction(np.stack([self._mask_of(record) for record in records]), ious, known)

    def _followed(self, job: Any) -> Any:
        """Return a job when it ended; an exception ends it."""
        try:
            while job["state"] in ("queued", "running"):
                time.sleep(_POLL)
                job = self._json("GET", f"/v1/jobs/{job['job_id']}")
        except BaseException:
            with contextlib.suppress(MobileSamError):  # the first error is reported
                self._json("DELETE", f"/v1/jobs/{job['job_id']}")
            raise
        return job

    def _mask_of(self, record: Mapping[str, Any]) -> BoolArray:
        height, width = record["segmentation"]["size"]
        return mask_of(boundaries_of_text(record["segmentation"]["counts"], (height, width)), (height, width))

    def _about_image(self, path: str, body: dict[str, Any]) -> Any:
        """Send a request about the image."""
        model = {} if self.model is None else {"model": self.model}
        return self._with_image(lambda: self._json("POST", path, {"image_id": self.image_id} | body | model))

    def _with_image(self, send: Callable[[], Any]) -> Any:
        """Send a request about the image; if the server has dropped the image, that is sent again."""
        self._require_image()
        for attempt in itertools.count():
            try:
                return send()
            except ServerResponseError as error:
                if error.status != _EXPIRED or attempt == self.retries:
                    raise
            self._upload()
        raise AssertionError

    def _require_image(self) -> None:
        if not self.image_id:
            raise ImageNotSetError("No image is set. Call set_image before predicting.")

    def _upload(self) -> Any:
        return self._json("POST", f"/v1/images{self._query()}", self._content)

    def _query(self) -> str:
        return "" if self.model is None else f"?model={urllib.parse.quote(self.model)}"

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        return self._transport.json(method, path, body, self._routing)


def _numbers(name: str, values: npt.ArrayLike, count: int) -> list[list[float]]:
    """Return rows of ``count`` numbers."""
    try:
        rows = np.atleast_2d(np.asarray(values, np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(sentence(name, "be numbers", repr(values)[:80], "pass pixels of the image")) from error
    if rows.ndim != 2 or rows.shape[1] != count:
        shape = "(N, 2)" if count == 2 else "(4,)"
        raise InputError(sentence(name, f"have shape {shape}", np.shape(values), "pass one prompt for each call"))
    return rows.tolist()  # type: ignore[no-any-return]
