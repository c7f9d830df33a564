"""The notebooks run from top to bottom on the real weights, and are kept without their outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from docs.hooks import notebooks

NAMES = [path.stem for path in notebooks.NOTEBOOKS]


def test_they_are_all_seen() -> None:
    examples = {"automatic_mask_generator_example", "onnx_model_example", "predictor_example"}
    assert set(NAMES) == {*examples, "evaluate_and_quantize", "finetune_example"}


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_kept(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        assert cell.metadata == {}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}  # no version of the machine it was written on


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_fit_the_page(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert max(map(len, cell.source.splitlines())) <= 92, cell.id
