"""Upsampling on windows, against PyTorch on the whole image."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.geometry import resized_hw
from mobilesam.masks.upsampling import Frame, Window, upsample, upsampled_columns, window_above

SIZES = [(300, 451), (64, 48), (1200, 900), (1, 70), (70, 1), (1, 1), (37, 2100)]


def frame_of(hw):
    return Frame(resized_hw(hw, 1024), hw, 1024)


def logits_of(seed, count=2):
    """Return smooth logits with one region above zero, (count, 256, 256)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256]
    center, radius = random.uniform(0, 200, (count, 2, 1, 1)), random.uniform(3, 90, (count, 1, 1))
    distance = np.hypot(x - center[:, 0], y - center[:, 1])
    return (radius - distance + random.normal(size=(count, 256, 256))).astype(np.float32)


@pytest.mark.torch
@pytest.mark.parametrize("hw", SIZES)
def test_upsampling_is_pytorchs_two_steps(hw):
    import torch
    from torch.nn import functional as F

    frame = frame_of(hw)
    logits = logits_of(0)
    square = F.interpolate(torch.from_numpy(logits)[None], (1024, 1024), mode="bilinear", align_corners=False)
    used = square[..., : frame.input_hw[0], : frame.input_hw[1]]
    expected = F.interpolate(used, hw, mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(upsample(logits, *frame), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("hw", SIZES)
def test_a_window_is_a_part_of_the_whole(hw):
    frame, logits = frame_of(hw), logits_of(1)
    whole = upsample(logits, *frame)
    random = np.random.default_rng(2)
    for _ in range(10):
        (x1, x2), (y1, y2) = (np.sort(random.integers(0, side + 1, 2)) for side in (hw[1], hw[0]))
        part = upsample(logits, *frame, window_xyxy=(x1, y1, x2, y2))
        np.testing.assert_allclose(part, whole[:, y1:y2, x1:x2], rtol=0, atol=1e-4)


def test_the_threshold_is_that_of_the_logits():
    frame, logits = frame_of((300, 451)), logits_of(3)
    mask = upsample(logits, *frame, threshold=0.5)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, upsample(logits, *frame) > 0.5)


@pytest.mark.parametrize("hw", SIZES)
def test_columns_are_the_window_turned(hw):
    frame, logits = frame_of(hw), logits_of(4)[0]
    window = Window(hw[1] // 3, hw[0] // 4, hw[1], hw[0])
    columns = list(upsampled_columns(logits, frame, window))
    assert columns[0][0] == window.x1
    together = np.concatenate([block for _, block in columns])
    np.testing.assert_allclose(together, upsample(logits, *frame, window_xyxy=window).T, rtol=0, atol=1e-4)


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 20.0])
def test_nothing_is_above_outside_of_the_window(hw, threshold):
    frame = frame_of(hw)
    for logits in logits_of(5, count=8):
        window = window_above(logits, frame, threshold)
        above = upsample(logits, *frame) > threshold
        inside = above[window.y1 : window.y2, window.x1 : window.x2]
        assert inside.sum() == above.sum()


def test_the_window_is_hardly_larger_than_the_mask():
    y, x = np.mgrid[:256, :256]
    disc = (20 - np.hypot(x - 100, y - 80)).astype(np.float32)
    frame = frame_of((800, 1024))
    y, x = np.nonzero(upsample(disc, *frame) > 0)
    window = window_above(disc, frame, 0)
    support = 1024 / 256
    assert x.min() - support <= window.x1 <= x.min()
    assert x.max() < window.x2 <= x.max() + 1 + support
    assert y.min() - support <= window.y1 <= y.min()
    assert y.max() < window.y2 <= y.max() + 1 + support


def test_an_empty_mask_has_an_empty_window():
    logits = np.full((256, 256), -3, np.float32)
    assert window_above(logits, frame_of((300, 451)), -1) == (0, 0, 0, 0)
    assert list(upsampled_columns(logits, frame_of((300, 451)), Window(0, 0, 0, 0))) == []
