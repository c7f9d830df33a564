"""Masks in JavaScript, against Python's values: upsampling, run lengths, cleaning, boxes and choosers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from mobilesam.geometry import resized_hw
from mobilesam.masks import box_chooser, boxes, chooser, regions, rle
from mobilesam.masks.candidate import candidate_of
from mobilesam.masks.selection import choose
from mobilesam.masks.upsampling import Frame, upsample
from mobilesam.webui import view
from tests.webui.model_script import run

SIZES = [(300, 451), (64, 64), (5, 900), (1300, 1100), (1, 1), (2, 700)]


def logits_of(random: np.random.Generator, count: int = 1) -> npt.NDArray[np.float32]:
    """Return (count, 256, 256) smooth logits."""
    noise = ndimage.gaussian_filter(random.normal(0, 1, (count, 256, 256)), (0, 8, 8))
    return np.float32(noise / noise.std() * 5)


def masks() -> list[npt.NDArray[np.bool_]]:
    random = np.random.default_rng(0)
    full = np.ones((5, 7), np.bool_)
    stripes = np.zeros((6, 9), np.bool_)
    stripes[:, 2:5] = True
    corner = np.zeros((40, 30), np.bool_)
    corner[-1, -1] = True
    smooth = [mask > 0 for mask in logits_of(random, 3)[:, :200, :231]]
    return [full, ~full, stripes, corner, *(random.random((31, 23)) < share for share in (0.02, 0.5, 0.98)), *smooth]


def test_upsampled_masks(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    cases = [{"logits": logits_of(random)[0], "size": size[::-1]} for size in SIZES]
    code = """
    import { frameOf } from "./static/model/geometry.js";
    import { maskOf } from "./static/model/upsampling.js";
    const frame = ([width, height]) => frameOf({ width, height });
    const result = given.cases.map(({ logits, size }) => maskOf(logits, frame(size), 0));
    """
    for hw, case, actual in zip(SIZES, cases, run(tmp_path, code, cases=cases), strict=True):
        expected = upsample(case["logits"], resized_hw(hw, 1024), hw, 1024)  # type: ignore[arg-type]
        different = np.array(actual).reshape(hw) != (expected > 0)
        assert (np.abs(expected[different]) < 1e-5).all(), hw


def test_measured_masks(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    cases = [{"logits": logits_of(random)[0], "size": size[::-1]} for size in SIZES]
    code = """
    import { measure, recordOf } from "./static/model/candidate.js";
    import { frameOf } from "./static/model/geometry.js";
    const limits = { threshold: 0, offset: 1, minStability: 0 };
    const result = given.cases.map(({ logits, size: [width, height] }) => {
      const frame = frameOf({ width, height });
      return recordOf(measure(logits, 0.5, frame, [1, 2], limits), frame.original);
    });
    """
    for hw, case, actual in zip(SIZES, cases, run(tmp_path, code, cases=cases), strict=True):
        frame = Frame(resized_hw(hw, 1024), hw, 1024)
        expected = candidate_of(case["logits"], np.float32(0.5), frame, threshold=0, offset=1)  # type: ignore[arg-type]
        assert rle.iou(rle.boundaries_of_rle(actual["segmentation"]), expected.boundaries) > 0.9999 or not len(
            expected.boundaries
        )
        assert actual["stability_score"] == pytest.approx(float(expected.stability), abs=1e-4)
        assert actual["area"] == pytest.approx(rle.area(expected.boundaries), rel=1e-4)
        x1, y1, x2, y2 = expected.box
        assert actual["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1)


def test_an_unstable_mask_is_left_out(tmp_path: Path) -> None:
    code = """
    import { measure } from "./static/model/candidate.js";
    import { frameOf } from "./static/model/geometry.js";
    const limits = { threshold: 0, offset: 1, minStability: 0.99 };
    const result = measure(given.logits, 0.5, frameOf({ width: 50, height: 40 }), [1, 2], limits);
    """
    assert run(tmp_path, code, logits=logits_of(np.random.default_rng(3))[0]) is None


def test_run_lengths(tmp_path: Path) -> None:
    cases = [{"mask": mask.astype(np.uint8), "size": mask.shape[::-1]} for mask in masks()]
    code = """
    import * as rle from "./static/model/rle.js";
    const result = given.cases.map(({ mask, size: [width, height] }) => {
      const boundaries = rle.boundariesOf(mask, [0, 0, width, height], height);
      const uncompressed = rle.toUncompressed(boundaries, { width, height });
      return {
        boundaries, uncompressed, coco: rle.toCoco(boundaries, { width, height }), area: rle.areaOf(boundaries),
        box: rle.boxOf(boundaries, height), again: rle.fromUncompressed(uncompressed),
        same: rle.maskOf(boundaries, { width, height }).every((value, index) => value === mask[index]),
      };
    });
    """
    for mask, actual in zip(masks(), run(tmp_path, code, cases=cases), strict=True):
        hw = (mask.shape[0], mask.shape[1])
        boundaries = rle.boundaries_of(mask)
        assert actual["boundaries"] == actual["again"] == boundaries.tolist()
        assert actual["uncompressed"] == rle.to_uncompressed(boundaries, hw)
        assert actual["coco"] == rle.to_coco(boundaries, hw)
        assert actual["area"] == rle.area(boundaries)
        assert tuple(actual["box"]) == rle.box(boundaries, hw[0])
        assert actual["same"]


def test_the_text_of_the_page(tmp_path: Path) -> None:
    sizes = [(200, 231), (200, 4000), (3001, 231)]
    random = np.random.default_rng(4)
    wide = [
        rle.boundaries_of(ndimage.zoom(logits_of(random)[0], [side / 256 for side in hw], order=1) > 0) for hw in sizes
    ]
    cases = [
        {"boundaries": boundaries.tolist(), "size": hw[::-1], "shown": view.preview_hw(hw)[::-1]}
        for boundaries, hw in zip(wide, sizes, strict=True)
    ]
    code = """
    import { runEnds } from "./static/masks.js";
    import { textOf, textOfLogits } from "./static/model/page_text.js";
    const size = ([width, height]) => ({ width, height });
    const frame = { original: { width: 451, height: 300 }, input: { width: 1024, height: 681 } };
    const ofLogits = textOfLogits(given.logits, frame, 0);
    const result = {
      texts: given.cases.map(({ boundaries, size: of, shown }) => textOf(boundaries, size(of), size(shown))),
      empty: textOf([], size([5, 5]), size([5, 5])), ofLogits, ends: runEnds(ofLogits),
    };
    """
    logits = logits_of(random)[0]
    result = run(tmp_path, code, cases=cases, logits=logits)
    expected = [view.shown_segment(rle.to_uncompressed(each, hw)) for each, hw in zip(wide, sizes, strict=True)]
    assert result["texts"] == expected
    assert result["empty"] == ""
    mask = upsample(logits, (681, 1024), (300, 451), 1024) > 0
    ends = result["ends"]
    shown = np.repeat(np.arange(len(ends) + 1) % 2 == 1, np.diff(ends, prepend=0, append=mask.size)).reshape(mask.shape)
    assert np.count_nonzero(shown != mask) <= 2
    if np.array_equal(shown, mask):
        assert result["ofLogits"] == view.pack(mask)


@pytest.mark.parametrize("least", [1, 3, 20, 150, 3000])
def test_small_holes_and_islands(tmp_path: Path, least: int) -> None:
    random = np.random.default_rng(5)
    noise = [*masks(), *(logits_of(random, 2)[:, :90, :70] + random.normal(0, 1, (2, 90, 70)) > 0)]
    given = [{"boundaries": rle.boundaries_of(mask).tolist(), "size": mask.shape[::-1]} for mask in noise]
    code = """
    import { clean } from "./static/model/regions.js";
    const result = given.cases.map(({ boundaries, size: [width, height] }) => (
      clean(boundaries, { width, height }, given.least)
    ));
    """
    for mask, actual in zip(noise, run(tmp_path, code, cases=given, least=least), strict=True):
        hw = (mask.shape[0], mask.shape[1])
        expected, changed = regions.clean(rle.boundaries_of(mask), hw, least)
        sizes = ndimage.label(mask, np.ones((3, 3)))[0]
        if len(np.unique(np.bincount(sizes.ravel())[1:])) == sizes.max():  # else one of several largest parts is kept
            assert (actual["boundaries"], actual["changed"]) == (expected.tolist(), changed)
        assert rle.area(np.array(actual["boundaries"], np.int64)) == rle.area(expected)


def test_suppression(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    corners = np.sort(random.integers(0, 40, (300, 2, 2)), axis=1).transpose(0, 1, 2).reshape(-1, 4)
    corners[5:9] = [3, 3, 3, 3]  # equal, without area
    scores = np.round(random.random(300), 1)
    code = """
    import { boxIou, nms } from "./static/model/boxes.js";
    const result = [nms(given.boxes, given.scores, 0.7), given.boxes.map((box) => boxIou(given.boxes[0], box))];
    """
    kept, ious = run(tmp_path, code, boxes=corners.tolist(), scores=scores.tolist())
    assert kept == boxes.nms(corners, scores, 0.7).tolist()
    assert np.array_equal(np.float32(ious), boxes.box_iou(np.float32(corners[0]), np.float32(corners)))


def _chooser_cases() -> list[dict[str, Any]]:
    random = np.random.default_rng(7)
    cases: list[dict[str, Any]] = []
    for hw in [(300, 451), (500, 120), (64, 64), (9, 900)]:
        height, width = resized_hw(hw, 1024)
        for corners in random.uniform(-50, 1100, (3, 4)).tolist():
            x1, x2, y1, y2 = (*sorted(corners[:2]), *sorted(corners[2:]))
            logits = logits_of(random, 4) + random.normal(0, 2, (4, 1, 1)).astype(np.float32)
            ious = random.uniform(0.2, 1, 4).astype(np.float32)
            cases.append({"logits": logits, "ious": ious, "box": [x1, y1, x2, y2], "input": [width, height]})
    cases[0]["logits"][1] = -5  # an empty mask
    cases[1]["logits"][2] = 5  # a mask of the whole image
    return cases


def test_choosers(tmp_path: Path) -> None:
    cases = _chooser_cases()
    learned = {
        name: {key: array.ravel() for key, array in file.arrays.items() if array.dtype.kind == "f"}
        for name, file in (("point", chooser.FILE), ("box", box_chooser.FILE))
    }
    code = """
    import { confidencesOf, keptMask } from "./static/model/selection.js";
    const result = given.cases.map(({ logits, ious, box, input: [width, height] }) => {
      const masks = [0, 1, 2, 3].map((mask) => logits.subarray(65536 * mask, 65536 * (mask + 1)));
      const frame = { input: { width, height } };
      const coords = Float32Array.from(box);
      const point = { coords, labels: Float32Array.of(1, -1) };
      const prompts = [point, { coords, labels: Float32Array.of(2, 3) }];
      const confidences = prompts.map((prompt) => confidencesOf(given.learned, prompt, masks, Array.from(ious), frame));
      const kept = (all) => prompts.map((prompt, place) => keptMask(all[place], prompt, masks, Array.from(ious)));
      return { confidences, chosen: kept(confidences), others: kept([null, null]) };
    });
    """
    for case, actual in zip(cases, run(tmp_path, code, cases=cases, learned=learned), strict=True):
        logits, ious, corners = case["logits"], case["ious"], np.float32(case["box"]).reshape(2, 2)
        input_hw = (case["input"][1], case["input"][0])
        expected = [
            chooser.confidences(logits, ious, corners[0], input_hw),
            box_chooser.confidences(logits, ious, corners, input_hw),
        ]
        assert np.abs(np.array(actual["confidences"]) - expected).max() < 1e-4
        for chosen, each in zip(actual["chosen"], expected, strict=True):
            assert each[chosen] > each.max() - 1e-4
        agreement = choose("agreement", logits, ious)
        assert actual["others"] == [agreement, 0]
