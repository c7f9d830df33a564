"""Preprocessing, frames and prompts in JavaScript, against Python's values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilesam.geometry import covered_tokens, resized_hw
from mobilesam.image.model_input import encoder_input, resize
from mobilesam.image.pixels import to_rgb
from mobilesam.prompts.arrays import make_prompts
from tests.webui.model_script import run

SIZES = [(300, 451), (1024, 700), (7, 900), (900, 7), (2500, 20), (1500, 9), (200, 2), (1, 1), (1300, 1300)]


def test_the_filter_gives_the_pixels_of_pillow(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*hw, 3), dtype=np.uint8) for hw in [*SIZES, (1500, 2300)]]
    cases = [
        {"pixels": image, "size": image.shape[1::-1], "resized": expected, "to": expected.shape[1::-1]}
        for image in images
        for expected in [resize(image, 1024)]
    ]
    code = """
    import { resize } from "./static/model/resize.js";
    const result = given.cases.map(({ pixels, size: [width, height], resized, to }) => {
      const rows = (top, count) => pixels.subarray(3 * width * top, 3 * width * (top + count));
      const actual = resize({ width, height, rows }, { width: to[0], height: to[1] });
      return actual.length === resized.length && actual.every((value, at) => value === resized[at]);
    });
    """
    assert run(tmp_path, code, cases=cases) == [True] * len(cases)


def test_the_encoders_input_is_that_of_python(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (301, 450, 3), dtype=np.uint8)
    expected = encoder_input(image, 1024)
    code = """
    import { encoderInput } from "./static/model/pixels.js";
    const rows = (top, count) => given.image.subarray(3 * 450 * top, 3 * 450 * (top + count));
    const { pixels, frame } = encoderInput({ width: 450, height: 301, rows });
    const result = { frame, same: pixels.every((value, at) => value === given.pixels[at]), length: pixels.length };
    """
    result = run(tmp_path, code, image=image, pixels=expected.pixels)
    assert result["same"]
    assert result["length"] == 3 * 1024 * 1024
    assert (result["frame"]["input"]["height"], result["frame"]["input"]["width"]) == expected.input_hw


def test_transparent_pixels_are_blended_with_white(tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    code = """
    import { opaque } from "./static/model/pixels.js";
    const result = opaque(given.image);
    """
    assert run(tmp_path, code, image=image) == to_rgb(image).ravel().tolist()


def test_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    sizes = [*SIZES, *random.integers(1, 9000, (500, 2)).tolist()]
    code = """
    import { coveredTokens, frameOf } from "./static/model/geometry.js";
    const result = given.sizes.map(([height, width]) => {
      const { input } = frameOf({ width, height });
      const { rows, columns } = coveredTokens(input);
      return [[input.height, input.width], [rows, columns]];
    });
    """
    inputs = [resized_hw((height, width), 1024) for height, width in sizes]
    expected = [[list(hw), list(covered_tokens(hw, 1024, 64))] for hw in inputs]
    assert run(tmp_path, code, sizes=sizes) == expected


PROMPTS = [
    {"points": [[10.5, 20]], "labels": [1]},
    {"points": [[1, 2], [300, 4.25], [-5, 1000]], "labels": [1, 0, -1]},
    {"box": [1, 2, 30.5, 40]},
    {"points": [[10, 20]], "labels": [0], "box": [1, 2, 30, 40]},
]


def test_prompts_in_the_model_frame(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    original_hw = (301, 450)
    code = """
    import { frameOf } from "./static/model/geometry.js";
    import { isSingleBox, isSinglePoint, modelPrompt } from "./static/model/prompts.js";
    const result = given.prompts.map((prompt) => {
      const ready = modelPrompt(prompt, frameOf({ width: 450, height: 301 }));
      return { ...ready, single: [isSinglePoint(ready), isSingleBox(ready)] };
    });
    """
    for actual, prompt in zip(run(tmp_path, code, prompts=PROMPTS), PROMPTS, strict=True):
        arguments = (prompt.get("points"), prompt.get("labels"), prompt.get("box"))
        frames = {"original_hw": original_hw, "input_hw": resized_hw(original_hw, 1024)}
        expected, _ = make_prompts(*arguments, **frames)
        assert np.array_equal(np.float32(actual["coords"]), expected.point_coords.ravel())
        assert actual["labels"] == expected.point_labels.ravel().tolist()
        assert actual["single"] == [expected.single_point, expected.single_box]


POINTS_NEED_LABELS = (
    "points must come with labels, got no labels; pass 1 for each foreground point and 0 for each background point"
)
UNKNOWN_LABEL = (
    "labels must be 1, 0 or -1, got 2; use 1 for foreground, 0 for background, -1 for padding; "
    "corners of a box go in box"
)
REVERSED = "box must have x1 < x2 and y1 < y2, got [5, 5, 1, 9]; pass the upper left corner first"
WRONG_MASK = "maskInput must be a Float32Array of 256 x 256, got length 4; pass one of lowResLogits"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{}", "a prompt must have at least one of points, box and maskInput, got none; pass one of them"),
        ("{ points: [1, 2], labels: [1] }", "points must be a list of pairs, got [1,2]; pass [[x, y]] for one point"),
        ("{ points: [[1, 2]] }", POINTS_NEED_LABELS),
        ("{ points: [[1, 2]], labels: [1, 0] }", "labels must have length 1, got 2; pass one label for each point"),
        ("{ points: [[1, 2]], labels: [2] }", UNKNOWN_LABEL),
        ("{ points: [[1, NaN]], labels: [1] }", "points must be finite numbers, got NaN; remove it"),
        ("{ box: [5, 5, 1, 9] }", REVERSED),
        ("{ maskInput: new Float32Array(4) }", WRONG_MASK),
    ],
)
def test_prompts_that_cannot_be_used(tmp_path: Path, prompt: str, message: str) -> None:
    code = f"""
    import {{ frameOf }} from "./static/model/geometry.js";
    import {{ modelPrompt }} from "./static/model/prompts.js";
    let result = null;
    try {{
      modelPrompt({prompt}, frameOf({{ width: 10, height: 10 }}));
    }} catch (error) {{
      result = [error.name, error.message];
    }}
    """
    assert run(tmp_path, code) == ["InputError", message]
