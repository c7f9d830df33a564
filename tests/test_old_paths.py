"""Names that have moved are still found at their old paths for a release, with a warning."""

from __future__ import annotations

import importlib
import warnings

import pytest

# What the reference of the Python interface listed before the modules were put into rooms, below ``mobilesam``.
LISTED = """
    automatic.generator.SamAutomaticMaskGenerator automatic.records.MaskRecord automatic.records.MaskRecords
    batch.embedding.embed_pictures batch.run.segment_pictures batch.segmentation.Everything
    batch.segmentation.ModelChoice batch.segmentation.Prompted build.build_sam build.build_sam_vit_t
    build.sam_model_registry evaluate.coco.load_coco evaluate.evaluation.Evaluation evaluate.evaluation.evaluate
    evaluate.runner.Settings export.exporter.export_onnx export.plan.Plan export.quantize.quantize
    export.recipes.Recipe export.verify.verify formats.coco.read_coco formats.coco.write_coco formats.csv.write_csv
    formats.geojson.write_geojson formats.labelme.write_labelme formats.parquet.write_parquet
    formats.picture.MaskedPicture formats.png.write_cutout formats.png.write_mask formats.yolo.write_yolo
    image.read_image loading.load model.Capabilities model.MaskModel onnx.sam.OnnxSam predictor.Prediction
    predictor.SamPredictor prompt_file.ObjectPrompt prompt_file.PromptFile prompt_file.read_prompts
    segment.segment_objects selection.choose visualize.overlay visualize.palette weights.ensure weights.fetch
    weights.find weights.verify
"""
MOVED = {
    "automatic.records.MaskRecord": "masks.records",
    "automatic.records.MaskRecords": "masks.records",
    "build.build_sam": "modeling.build",
    "build.build_sam_vit_t": "modeling.build",
    "build.sam_model_registry": "modeling.build",
    "prompt_file.ObjectPrompt": "prompts.object_prompt",
    "prompt_file.PromptFile": "prompts.file",
    "prompt_file.read_prompts": "prompts.file",
    "selection.choose": "masks.selection",
}


@pytest.mark.torch
@pytest.mark.parametrize("path", LISTED.split())
def test_a_name_is_found_at_its_old_path(path: str) -> None:
    room, _, name = path.rpartition(".")
    module = importlib.import_module(f"mobilesam.{room}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(module, name)
    if path in MOVED:
        home = f"mobilesam.{MOVED[path]}"
        assert found is getattr(importlib.import_module(home), name)
        (warning,) = caught
        assert warning.category is DeprecationWarning
        assert str(warning.message) == (
            f"mobilesam.{path} has moved; import it from {home}. The old path goes with release 0.3."
        )
        assert warning.filename == __file__
    else:
        assert found is not None
        assert caught == []


def test_an_import_statement_is_warned_where_it_stands() -> None:
    with pytest.warns(DeprecationWarning, match=r"^mobilesam\.selection\.choose has moved; ") as caught:
        from mobilesam.selection import choose
    assert choose.__module__ == "mobilesam.masks.selection"
    assert caught[0].filename == __file__


def test_a_name_that_never_was_is_refused() -> None:
    with pytest.raises(ImportError, match=r"cannot import name 'chose' from 'mobilesam\.selection'"):
        from mobilesam.selection import chose  # noqa: F401
