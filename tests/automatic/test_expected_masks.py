"""The learned expectation of everything mode: used on the masks that it was learned on, and otherwise the rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilesam.automatic import SamAutomaticMaskGenerator, expected_masks
from mobilesam.automatic.exploration import MOST_SHARE, SHARE
from mobilesam.errors import WeightsError
from tests.automatic.color_model import ColorModel
from tests.photos import photo

pytestmark = pytest.mark.weights
OTHER_FILTERS = {"pred_iou_thresh": 0.88 + 1e-12}  # the same masks pass


def generate(model, mode: str, image, **options):
    calls: list[tuple[int, int, int]] = []
    generator = SamAutomaticMaskGenerator(model, mode=mode, output_mode="coco_rle", **options)
    records = generator.generate(image, progress=lambda *counts: calls.append(counts))
    return records, calls


def test_it_knows_the_weights_and_the_filters_that_it_was_learned_on(onnx_sam) -> None:
    assert expected_masks.FILE.knows(onnx_sam.source_weights_id)
    assert not expected_masks.FILE.knows(ColorModel().source_weights_id)
    assert SamAutomaticMaskGenerator(onnx_sam).settings.filters == expected_masks.FILTERS


def test_it_is_small_and_its_probabilities_are_probabilities() -> None:
    assert expected_masks.FILE.path.stat().st_size < 200_000
    vectors = np.random.default_rng(0).normal(0, 1, (50, 256)).astype(np.float32)
    log_rates, decays, least = expected_masks.expectation(vectors, "fast")
    assert log_rates.shape == (len(decays), 50)
    assert (log_rates <= 0).all()
    assert np.isfinite(log_rates).all()
    assert least > expected_masks.expectation(vectors, "balanced").log_least


@pytest.mark.parametrize("mode", ["fast", "balanced"])
def test_a_run_ends_when_no_new_masks_are_expected(onnx_sam, mode: str) -> None:
    _, plain = generate(onnx_sam, mode, np.full((300, 400, 3), 127, np.uint8), points_per_side=16)
    _, detailed = generate(onnx_sam, mode, photo("coins"), points_per_side=16)
    most = int(MOST_SHARE[mode] * 256)
    assert plain[-1][0] == plain[-1][1] < detailed[-1][0] == detailed[-1][1] <= most
    assert detailed[0][1] == most, "the most that there may be, at first"


def test_other_filters_follow_the_rule(onnx_sam) -> None:
    image = photo("coffee")
    learned, calls = generate(onnx_sam, "fast", image, points_per_side=16)
    by_rule, rule_calls = generate(onnx_sam, "fast", image, points_per_side=16, **OTHER_FILTERS)
    assert rule_calls[-1][0] == SHARE["fast"] * 256 != calls[-1][0]
    assert [record["point_coords"] for record in learned] != [record["point_coords"] for record in by_rule]


def test_a_damaged_file(tmp_path: Path, monkeypatch, onnx_sam) -> None:
    monkeypatch.setattr(expected_masks, "FILE", replace(expected_masks.FILE, path=tmp_path / "absent.npz"))
    with pytest.raises(WeightsError, match=r"The learned expectation .*absent\.npz cannot be used: No such file"):
        generate(onnx_sam, "fast", photo("coffee"))
    records, _ = generate(onnx_sam, "exact", photo("coffee"), points_per_side=2)
    assert isinstance(records, list)
