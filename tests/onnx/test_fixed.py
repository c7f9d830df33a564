"""Graphs of fixed shapes, used with any number of prompts and with images of any size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.onnx import fixed


class Recorder:
    """Keeps the inputs of each call, and returns outputs that tell the calls apart."""

    def __init__(self, outputs: Mapping[str, tuple[int, ...]]) -> None:
        self.calls: list[dict[str, Any]] = []
        self._outputs = outputs

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append(dict(inputs))
        return {name: np.full(shape, len(self.calls), np.float32) for name, shape in self._outputs.items()}


def session(role: str, frame_hw: tuple[int, int] = (1024, 1024)) -> tuple[fixed.FixedSession, Recorder]:
    graph = fixed.graphs(6, frame_hw)[role]
    recorder = Recorder({value.name: tuple(map(int, value.shape)) for value in graph.outputs})
    return fixed.FixedSession(graph, lambda: recorder, {}, "a test"), recorder


def test_prompts_are_run_one_by_one_and_empty_slots_are_absent() -> None:
    score, recorder = session("score")
    inputs = {
        value.name: np.zeros([d if isinstance(d, int) else 1 for d in value.shape], np.float32)
        for value in fixed.PARTS[2].inputs
    }
    inputs |= {
        "point_coords": np.arange(12, dtype=np.float32).reshape(3, 2, 2),
        "point_labels": np.array([[1, -1]] * 3, np.float32),
    }
    ious, kernels = score.run(["iou_predictions", "kernels"], inputs)
    assert ious[:, 0].tolist() == [1, 2, 3]
    assert kernels.shape == (3, 4, 32)
    assert [call["point_labels"].tolist() for call in recorder.calls] == [[[1, -1, -2, -2, -2, -2, -2, -2]]] * 3
    assert recorder.calls[2]["point_coords"][0, :2].tolist() == [[8, 9], [10, 11]]


def test_the_positions_of_masks_are_one() -> None:
    image, recorder = session("image")
    masks = np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1) * np.ones((2, 1, 256, 256), np.float32)
    features = np.zeros((1, 256, 64, 64), np.float32)
    inputs = {"image_embeddings": features, "mask_input": masks, "has_mask_input": np.ones(1, np.float32)}
    tokens, positions = image.run(["tokens", "positions"], inputs)
    assert [call["mask_input"].max() for call in recorder.calls] == [0, 1]
    assert (len(tokens), len(positions)) == (2, 1)


def test_a_part_of_the_grid_is_filled_up_and_cut() -> None:
    upscale, recorder = session("upscale")
    tokens = np.ones((1, 11, 43, 256), np.float32)
    (logits,) = upscale.run(["low_res_logits"], {"kernels": np.ones((1, 4, 32), np.float32), "image_tokens": tokens})
    assert logits.shape == (1, 4, 44, 172)
    given = recorder.calls[0]["image_tokens"]
    assert given.shape == (1, 16, 64, 256)
    assert given.sum() == tokens.sum()


def test_images_fill_the_frame_or_are_refused() -> None:
    encoder, recorder = session("encoder", (768, 1024))
    square = np.zeros((1, 3, 1024, 1024), np.float32)
    square[:, :, :700] = 1
    encoder.run(["image_embeddings"], {"input_image": square})
    assert recorder.calls[0]["input_image"].shape == (1, 3, 768, 1024)
    encoder.run(["image_embeddings"], {"input_image": square[:, :, :704]})
    assert recorder.calls[1]["input_image"].sum() == square.sum()
    square[:, :, 800] = 1
    with pytest.raises(InputError, match="image in the model frame must fit into 768x1024, got more"):
        encoder.run(["image_embeddings"], {"input_image": square})


def test_more_points_than_slots_are_refused() -> None:
    decoder, _ = session("decoder")
    inputs = {
        "image_embeddings": np.zeros((1, 256, 64, 64), np.float32),
        "mask_input": np.zeros((1, 1, 256, 256), np.float32),
    }
    inputs |= {
        "point_coords": np.zeros((1, 9, 2), np.float32),
        "point_labels": np.ones((1, 9), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }
    with pytest.raises(InputError, match="the points of a prompt must be at most 6, or 7 without a box, got 9"):
        decoder.run(["low_res_masks"], inputs)
