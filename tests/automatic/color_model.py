"""A model that needs no weights: the mask of a point is the area of one color around it."""

from __future__ import annotations

import cv2
import numpy as np

from mobilesam.image.model_input import resize
from mobilesam.model import Capabilities, Embedding, MaskModel, Scored

SIDE = 256


class ColorModel(MaskModel):
    """Predicts one certain mask for each prompt, and counts the prompts.

    The mask contains the point, or the center of the box.
    """

    def __init__(self, quality=0.95, batch=4):
        self.quality, self.batch = quality, batch
        self.encoded, self.batches, self.points = 0, [], []

    @property
    def capabilities(self):
        return Capabilities(prompt_batch=self.batch)

    @property
    def weights_id(self):
        return "colors"

    def encode(self, image, *, fast_padding=False):
        self.encoded += 1
        resized = resize(image, self.image_size)
        padded = np.zeros((self.image_size, self.image_size, 3), np.uint8)
        padded[: resized.shape[0], : resized.shape[1]] = resized
        colors = np.ascontiguousarray(padded[2::4, 2::4])
        return Embedding(colors, image.shape[:2], resized.shape[:2])

    def score_prompts(self, embedding, prompts):
        self.batches.append(len(prompts))
        used = prompts.point_labels >= 1
        places = [coords[use].mean(axis=0) for coords, use in zip(prompts.point_coords, used, strict=True)]
        self.points += [tuple(place) for place in places]
        scores = np.tile(np.array([0.9, self.quality, 0.3, 0.3], np.float32), (len(prompts), 1))
        return Scored(scores, (embedding.features, places))

    def upscale(self, scored, keep, input_hw=None):
        colors, places = scored.state
        return np.stack([self._area(colors, places[prompt]) for prompt, _ in keep])

    def _area(self, colors, place):
        x, y = (min(int(value / 4), SIDE - 1) for value in place)
        filled = np.zeros((SIDE + 2, SIDE + 2), np.uint8)
        cv2.floodFill(colors.copy(), filled, (x, y), (255, 255, 255), flags=4 | cv2.FLOODFILL_MASK_ONLY)
        return np.where(filled[1:-1, 1:-1] > 0, 10, -10).astype(np.float32)

    def load_features(self, features):
        return features

    def dump_features(self, features):
        return features[2::4, 2::4].transpose(2, 0, 1)[None].astype(np.float32)


def squares(hw, boxes):
    """Return a black image of (height, width) with a square of its own color in each box x1 y1 x2 y2."""
    image = np.zeros((*hw, 3), np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2] = (60 + 20 * index % 190, 240 - 30 * index % 200, 40 + 10 * index % 180)
    return image
