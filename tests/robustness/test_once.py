"""Ideas that have one home: types of arrays, the encoder's input, the decoder's masks, the reversal of an ONNX pair."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam.config import ALL_MASKS, MULTIMASK, SINGLE_MASK
from mobilesam.errors import SingleMaskWarning
from mobilesam.image.model_input import complete_features, encoder_input
from mobilesam.prompts.arrays import make_prompts
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


def test_the_layout_of_the_decoders_masks_is_stated_in_one_module() -> None:
    """Single-mask output, multimask outputs, mask threshold and stability offset."""
    assert (SINGLE_MASK, MULTIMASK, ALL_MASKS) == ((0,), (1, 2, 3), (0, 1, 2, 3))
    repeated = r"\(0,\)|1, 2, 3[)\]]|range\(4\)|logits > 0\b|\w*(?i:mask_threshold|stability\w*offset)(: float)? = \d"
    matches = {module for module in MODULES if re.search(repeated, text_of(module))}
    assert matches - {"evaluate.report", "weights.state_dict"} == {"config"}  # numbers of clicks, kinds of points
    assert not [module for module in MODULES if "bool | None" in text_of(module) and "multimask" in text_of(module)]


@pytest.mark.weights
@pytest.mark.parametrize("backend", ["onnx", pytest.param("torch", marks=pytest.mark.torch)])
def test_decode_makes_the_masks_that_are_named(backend: str) -> None:
    model = mobilesam.load(backend=backend, device="cpu")
    embedding = model.encode(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
    frame = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    prompts, _ = make_prompts([[[20, 30]], [[70, 10]]], [[1], [1]], **frame)
    every = model.decode(embedding, prompts, ALL_MASKS)
    assert every.low_res_logits.shape == (2, 4, 256, 256)
    for indices in (SINGLE_MASK, MULTIMASK, (2,), (3, 1)):
        decoded = model.decode(embedding, prompts, indices)
        np.testing.assert_allclose(decoded.low_res_logits, every.low_res_logits[:, indices], rtol=0, atol=1e-4)
        np.testing.assert_array_equal(decoded.iou_predictions, every.iou_predictions[:, indices])


@pytest.mark.weights
def test_a_decoder_of_one_mask_gives_it_with_a_warning_where_others_are_wanted(pair: tuple[Path, Path]) -> None:
    model = mobilesam.load(pair, backend="onnx")
    embedding = model.encode(np.zeros((60, 90, 3), np.uint8))
    prompts, _ = make_prompts([[20, 30]], [1], original_hw=(60, 90), input_hw=embedding.input_hw)
    expected = model.decode(embedding, prompts, SINGLE_MASK)
    assert expected.low_res_logits.shape == (1, 1, 256, 256)
    np.testing.assert_array_equal(model.decode(embedding, prompts, ALL_MASKS).low_res_logits, expected.low_res_logits)
    with pytest.warns(SingleMaskWarning, match="returns one mask per prompt"):
        decoded = model.decode(embedding, prompts, MULTIMASK)
    np.testing.assert_array_equal(decoded.low_res_logits, expected.low_res_logits)


@pytest.mark.weights
def test_the_reversal_of_an_onnx_pair_is_not_loaded_with_a_checkpoint() -> None:
    program = """if True:
        import sys
        from mobilesam import weights
        from mobilesam.weights import checkpoint
        checkpoint.read(weights.ensure())
        print([name for name in sys.modules if "onnx_pair" in name])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_only_the_two_that_convert_import_the_reversal_and_they_do_it_where_they_convert() -> None:
    line = re.compile(r"^( *)from mobilesam.weights import .*\bonnx_pair\b", re.MULTILINE)
    indents = {module: line.findall(text_of(module)) for module in MODULES if "onnx_pair" in text_of(module)}
    assert indents == {"weights.checkpoint": ["    "], "weights.store": ["            "]}


def names_used(path: Path) -> set[tuple[str, str]]:
    """Return (module, name) of what a file refers to, in itself or in modules that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = next((module for module, each in MODULES.items() if each == path), "")
    used, known = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                parent = (node.module or "").removeprefix("mobilesam").removeprefix(".")
                full = f"{parent}.{alias.name}".removeprefix(".")
                used.add((parent, alias.name))
                if full in MODULES:
                    known[alias.asname or alias.name] = full
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add((own, node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            used.add((known[node.value.id], node.attr))
    return used


def test_nothing_is_there_for_tests_alone() -> None:
    """Every name at the top of a module is used by the package itself.

    Commands are registered by a decorator, and ``open_model`` of a runtime and ``TARGET`` of a converter
    are known by the names of their modules.
    """
    used = set().union(*map(names_used, MODULES.values()))
    unused = []
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names = [] if any("command" in ast.unparse(each) for each in node.decorator_list) else [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            unused += [(module, name) for name in names if (module, name) not in used and not name.startswith("__")]
    unused = [(module, name) for module, name in unused if not module.startswith("utils.")]  # names of SAM's
    assert unused == [
        ("modeling.image_encoder", "add_decomposed_rel_pos"),  # of SAM's
        *(("modeling.tiny_vit_sam", "ConvLayer"), ("modeling.tiny_vit_sam", "BasicLayer")),  # of the reference's
        *((f"runtimes.{name}", "open_model") for name in ("coreml", "litert", "ncnn", "onnx", "openvino", "torch")),
        *((f"export.targets.{name}", "TARGET") for name in ("coreml", "litert", "ncnn", "openvino")),
    ]
