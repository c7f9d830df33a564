"""The image of a predictor, in the attributes of SAM's SamPredictor, which can be read and assigned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilesam.embedding import FEATURES_SHAPE
from mobilesam.errors import InputError, sentence
from mobilesam.loading import as_mask_model
from mobilesam.model import Embedding, MaskModel

_SIDES = ("orig_h", "orig_w", "input_h", "input_w")


def _side(name: str) -> property:
    def assign(image: PredictorImage, value: Any) -> None:
        image._assign(**{name: value if value is None else _pixels(name, value)})

    return property(lambda image: image._parts.get(name), assign)


class PredictorImage:
    """The base of SamPredictor: its model, and the embedding of its image.

    The attributes can be assigned one by one, as programs do that store embeddings. Assigning one of them gives a new
    embedding without the digest of an image; the image is set once all of them are there and ``is_image_set`` is true.
    A subclass need not call ``__init__``: it needs only the attribute ``model``.
    """

    model: Any
    _mask_model: tuple[Any, MaskModel] | None = None
    _embedding: Embedding | None = None
    _parts: Mapping[str, Any] = {}

    @property
    def mask_model(self) -> MaskModel:
        """``model`` as a :class:`mobilesam.model.MaskModel`, made when it is first used.

        Raises:
            InputError: ``model`` is not a model of this package.
        """
        known = self._mask_model
        if known is None or known[0] is not self.model:
            known = self._mask_model = (self.model, as_mask_model(self.model))
        return known[1]

    @property
    def features(self) -> Any:
        """The embedding of the image, (1, 256, 64, 64), in the array type of the model, or None.

        An array or a tensor can be assigned, also (256, 64, 64).
        """
        return self._parts.get("features")

    @features.setter
    def features(self, value: Any) -> None:
        if value is not None:
            shape = tuple(np.shape(value))
            if shape == FEATURES_SHAPE[1:]:
                value = value[None]
            elif shape != FEATURES_SHAPE:
                remedy = "assign what get_image_embedding returned"
                raise InputError(sentence("features", f"have shape {FEATURES_SHAPE}", shape, remedy))
            value = self.mask_model.load_features(value)
        self._assign(features=value)

    @property
    def original_size(self) -> tuple[int, int] | None:
        """(height, width) of the image, or None."""
        return self._size("orig_h", "orig_w")

    @original_size.setter
    def original_size(self, value: tuple[int, ...] | None) -> None:
        self._assign(**dict(zip(("orig_h", "orig_w"), _checked_size("original_size", value), strict=True)))

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) of the image in the model frame, or None."""
        return self._size("input_h", "input_w")

    @input_size.setter
    def input_size(self, value: tuple[int, ...] | None) -> None:
        self._assign(**dict(zip(("input_h", "input_w"), _checked_size("input_size", value), strict=True)))

    @property
    def is_image_set(self) -> bool:
        """Whether an image is set."""
        return bool(self._parts.get("is_image_set"))

    @is_image_set.setter
    def is_image_set(self, value: bool) -> None:
        self._assign(is_image_set=bool(value))

    orig_h, orig_w, input_h, input_w = map(_side, _SIDES)

    def _size(self, height: str, width: str) -> tuple[int, int] | None:
        size = self._parts.get(height), self._parts.get(width)
        return None if None in size else size  # type: ignore[return-value]

    def _assign(self, **changes: Any) -> None:
        parts = {**self._parts, **changes}
        sides: list[Any] = [parts.get(name) for name in _SIDES]
        self._parts, self._embedding = parts, None
        if parts.get("is_image_set") and parts.get("features") is not None and None not in sides:
            height, width, input_height, input_width = sides
            self._embedding = Embedding(parts["features"], (height, width), (input_height, input_width))

    def _set(self, embedding: Embedding) -> None:
        sides = dict(zip(_SIDES, (*embedding.original_hw, *embedding.input_hw), strict=True))
        self._parts = {"features": embedding.features, "is_image_set": True, **sides}
        self._embedding = embedding


def _checked_size(name: str, value: Any) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    try:
        height, width = value
    except (TypeError, ValueError) as error:
        raise InputError(sentence(name, "be a height and a width", repr(value), "pass (height, width)")) from error
    return _pixels(name, height), _pixels(name, width)


def _pixels(name: str, value: Any) -> int:
    try:
        pixels = int(value)
    except (TypeError, ValueError, OverflowError):
        pixels = 0
    if pixels < 1:
        raise InputError(sentence(name, "be pixels, at least 1", repr(value), "pass sizes in pixels"))
    return pixels
