"""The models that the page offers, and changes between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from mobilesam.errors import InputError
from mobilesam.serve.models import Models, choices
from tests.robustness.server_client import serving


def offered(*models: str, backend: str = "auto", device: str = "cpu") -> Models:
    return choices(models, backend, device, lambda model, runtime: pytest.fail("none is loaded before it is used"))


def encoder(folder: Path, **metadata: str) -> str:
    """Write the smallest ONNX file, with metadata as the exporter's, and return its folder."""
    folder.mkdir()
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "nothing", ends[:1], ends[1:]))
    onnx.helper.set_model_props(model, {f"mobilesam.{key}": value for key, value in metadata.items()})
    onnx.save(model, folder / "encoder.onnx")
    return str(folder)


@pytest.mark.torch
def test_the_default_weights_run_on_every_backend_the_faster_first() -> None:
    assert offered().labels() == {"onnx": "ONNX float32", "torch": "PyTorch"}
    assert offered(backend="torch").labels() == {"torch": "PyTorch"}
    assert offered(device="cuda").default == "torch"
    assert offered(device="mps").labels() == {"torch": "PyTorch"}


@pytest.mark.torch
def test_each_requested_model_has_a_name_of_its_own(tmp_path: Path) -> None:
    small, plain = encoder(tmp_path / "small", precision="int8"), encoder(tmp_path / "plain", precision="float32")
    other = encoder(tmp_path / "made-elsewhere")
    assert offered("mobile_sam", small, plain, other, small).labels() == {
        "onnx-mobile_sam": "ONNX float32 · mobile_sam",
        "torch-mobile_sam": "PyTorch · mobile_sam",
        "onnx-small": "ONNX int8 · small",
        "onnx-plain": "ONNX float32 · plain",
        "onnx-made-elsewhere": "ONNX · made-elsewhere",
        "onnx-small-2": "ONNX int8 · small",
    }


def test_a_model_that_is_not_offered_is_refused() -> None:
    with pytest.raises(InputError, match="model must be one of onnx, got 'onx'; did you mean 'onnx'"):
        offered(backend="onnx").check("onx")


@pytest.mark.torch
@pytest.mark.weights
def test_a_change_of_the_model_keeps_the_prompt(open_page: Any, cat: Path) -> None:
    with serving("--backend", "auto", "--model", "mobile_sam", "--model", "mobile_sam") as server:
        page = open_page(server.url)
        page.page.select_option('[data-part="model"]', "torch-mobile_sam")
        page.until("state.phase === 'empty' && state.model === 'torch-mobile_sam'")
        page.open(cat)
        assert page.value("state.model") == "torch-mobile_sam", "the choice made before is kept"
        page.click(172, 107)
        before = page.save_mask()
        page.page.select_option('[data-part="model"]', "onnx-mobile_sam")
        page.until("state.phase === 'ready' && state.model === 'onnx-mobile_sam'")
        page.settle()
        assert page.prompt["points"] == [[172, 107, 1]]
        after = page.save_mask()
        assert (before & after).sum() / (before | after).sum() > 0.99
        timing = page.page.inner_text('[data-part="timing"]')
        assert "encoded in" in timing
        assert "mask in" in timing
