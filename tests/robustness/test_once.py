"""Ideas that have one home: types of arrays, the encoder's input, the decoder's masks, the reversal of an ONNX pair."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from mobilesam.image.model_input import complete_features, encoder_input
from tests.test_architecture import MODULES


def text_of(module: str) -> str:
    path: Path = MODULES[module]
    return path.read_text(encoding="utf-8")


def test_types_of_arrays_are_named_in_one_module() -> None:
    alias = re.compile(r"^\w+(: \w+)? = npt\.NDArray", re.MULTILINE)
    assert {module for module in MODULES if alias.search(text_of(module))} == {"arrays"}


def test_types_of_arrays_that_have_a_name_are_called_by_it() -> None:
    named = {line.partition(" = ")[2] for line in text_of("arrays").splitlines() if " = npt.NDArray" in line}
    assert len(named) == 8
    for module in MODULES.keys() - {"arrays"}:
        assert not [kind for kind in named if kind in text_of(module)], module


def imported(module: str) -> set[str]:
    """Return the modules that a module imports names from, anywhere in it."""
    return {node.module or "" for node in ast.walk(ast.parse(text_of(module))) if isinstance(node, ast.ImportFrom)}


def test_types_of_arrays_are_imported_from_their_module() -> None:
    for module in MODULES.keys() - {"arrays"}:
        named = re.search(r"(?<![\w.`])(Bool|UInt8|Int|Float|AnyInt|AnyFloat)Array(64)?\b", text_of(module))
        assert not named or "mobilesam.arrays" in imported(module), module


def test_the_encoders_input_is_made_in_one_module() -> None:
    """Both backends compose resizing, normalizing, padding and fast padding by calling one function each."""
    for line in ("PIXEL_MEAN = ", "def resize(", "def normalize(", "def pad("):
        assert [module for module in MODULES if line in text_of(module)] == ["image.model_input"], line
    for backend in ("modeling.torch_sam", "onnx.encoder"):
        calls = set(re.findall(r"(?<!def )\b(\w+)\(", text_of(backend)))
        assert {"encoder_input", "complete_features", "empty_input"} <= calls
        assert not {"normalize", "pad"} & calls
        assert "-(-" not in text_of(backend), f"{backend} rounds up to tokens"


@pytest.mark.parametrize(
    ("hw", "covered"), [((60, 90), (704, 1024)), ((90, 60), (1024, 704)), ((50, 50), (1024, 1024))]
)
def test_fast_padding_adds_less_than_a_token(hw: tuple[int, int], covered: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8)
    square, fast = encoder_input(image, 1024), encoder_input(image, 1024, patch_size=64)
    assert square.pixels.shape == (1, 3, 1024, 1024)
    assert fast.pixels.shape == (1, 3, *covered)
    assert fast.input_hw == square.input_hw
    np.testing.assert_array_equal(fast.pixels, square.pixels[..., : covered[0], : covered[1]])
    assert not square.pixels[..., fast.input_hw[0] :, :].any()
    assert not square.pixels[..., fast.input_hw[1] :].any()


def test_features_are_completed_beside_and_below_the_covered_part() -> None:
    random = np.random.default_rng(0)
    empty, covered = random.random((1, 4, 8, 8), np.float32), random.random((1, 4, 5, 8), np.float32)
    kept = empty.copy()
    whole = complete_features(covered, empty)
    np.testing.assert_array_equal(empty, kept)
    np.testing.assert_array_equal(whole[:, :, :5], covered)
    np.testing.assert_array_equal(whole[:, :, 5:], empty[:, :, 5:])


@pytest.mark.torch
def test_tensors_are_completed_as_arrays_are() -> None:
    import torch

    random = np.random.default_rng(0)
    empty, covered = random.random((1, 4, 8, 8), np.float32), random.random((1, 4, 8, 3), np.float32)
    whole = complete_features(torch.from_numpy(covered), torch.from_numpy(empty))
    assert isinstance(whole, torch.Tensor)
    np.testing.assert_array_equal(whole.numpy(), complete_features(covered, empty))
