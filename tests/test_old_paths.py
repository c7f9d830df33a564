"""Names that have moved are still found at their old paths for a release, with a warning."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import pytest

from mobilesam.batch import Prompted, segment_pictures
from tests.automatic.color_model import ColorModel
from tests.robustness.batch_runs import FORMATS, PROMPTS, ColorChoice, contents, paint, segment

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
    "batch.embedding.embed_pictures": "batch.embedding.embed_images",
    "formats.picture.MaskedPicture": "formats.masked_image.MaskedImage",
    "automatic.records.MaskRecord": "masks.records.MaskRecord",
    "automatic.records.MaskRecords": "masks.records.MaskRecords",
    "build.build_sam": "modeling.build.build_sam",
    "build.build_sam_vit_t": "modeling.build.build_sam_vit_t",
    "build.sam_model_registry": "modeling.build.sam_model_registry",
    "prompt_file.ObjectPrompt": "prompts.file.ObjectPrompt",
    "prompt_file.PromptFile": "prompts.file.PromptFile",
    "prompt_file.read_prompts": "prompts.file.read_prompts",
    "selection.choose": "masks.selection.choose",
}


@pytest.mark.torch
@pytest.mark.parametrize("path", LISTED.split())
def test_a_name_is_found_at_its_old_path(path: str) -> None:
    room, _, name = path.rpartition(".")
    module = importlib.import_module(f"mobilesam.{room}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        new_object = getattr(module, name)
    if path in MOVED:
        home, _, new_name = f"mobilesam.{MOVED[path]}".rpartition(".")
        assert new_object is getattr(importlib.import_module(home), new_name)
        (warning,) = caught
        assert warning.category is DeprecationWarning
        assert str(warning.message) == (
            f"mobilesam.{path} is now {home}.{new_name}. The old name will be removed in release 0.3."
        )
        assert warning.filename == __file__
    else:
        assert new_object is not None
        assert caught == []


def test_an_import_statement_is_warned_where_it_stands() -> None:
    with pytest.warns(DeprecationWarning, match=r"^mobilesam\.selection\.choose is now ") as caught:
        from mobilesam.selection import choose
    assert choose.__module__ == "mobilesam.masks.selection"
    assert caught[0].filename == __file__


def test_a_name_that_never_was_is_refused() -> None:
    with pytest.raises(ImportError, match=r"cannot import name 'chose' from 'mobilesam\.selection'"):
        from mobilesam.selection import chose  # noqa: F401


def test_the_old_call_of_a_batch_still_works(tmp_path, monkeypatch) -> None:
    """Its fourteen arguments are those of a job and of ``segment_images`` today."""
    monkeypatch.chdir(tmp_path)
    paint(Path("photos/a.png"))
    segment(["photos"], Path("new"))
    warnings_of_run, counts = [], []
    with pytest.warns(DeprecationWarning, match=r"^mobilesam\.batch\.segment_pictures is now segment_images\("):
        report = segment_pictures(
            ["photos"],
            Path("old"),
            prompts=PROMPTS,
            how=Prompted(),
            words=FORMATS,
            model=ColorChoice(),
            workers=1,
            engine="local",
            ray_address=None,
            resume=False,
            force=False,
            strict=False,
            progress=lambda *count: counts.append(count),
            notice=warnings_of_run.append,
        )
    assert (report.done, counts[-1], warnings_of_run) == (1, (1, 1, 0), [])
    assert contents(Path("old")) == contents(Path("new"))


def test_old_options_still_work(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("mobilesam.cli.model.load_model", lambda *_, **__: ColorModel())
    paint(tmp_path / "a.png")
    old, new = (
        command("everything", tmp_path / "a.png", "--out", tmp_path / name, "--format", "coco", *words)
        for name, words in (
            ("old", ["--preset", "fast", "--grid=8", "--tiles", "64"]),
            ("new", ["--mode", "fast", "--points-per-side", "8", "--tile-size", "64"]),
        )
    )
    assert (old.code, new.code) == (0, 0)
    assert "warning" not in new.err
    assert old.err.splitlines()[:-1] == [
        "warning: --preset is now --mode. The old name will be removed in release 0.3.",
        "warning: --grid is now --points-per-side. The old name will be removed in release 0.3.",
        "warning: --tiles is now --tile-size. The old name will be removed in release 0.3.",
    ]
    assert (tmp_path / "old/coco.json").read_bytes() == (tmp_path / "new/coco.json").read_bytes()
