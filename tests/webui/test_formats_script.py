"""Files of masks in JavaScript, against those of Python."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from mobilesam.errors import InputError
from mobilesam.formats.masked_image import MaskedImage, labels_of, read_record
from mobilesam.formats.outlines import outlines
from mobilesam.formats.output import write_masks
from mobilesam.formats.polygons import rings_of
from mobilesam.formats.yolo import write_yolo_names
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.prompts.file import PromptFile, dump
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.visualize import palette
from mobilesam.webui import saving
from mobilesam.webui.session import read_prompt
from tests.webui.model_script import run

pytestmark = pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")

Mask = npt.NDArray[np.bool_]
NAME = "Straße 1.tar.jpg"
TEXTS = ("coco", "labelme", "yolo", "csv", "geojson", "prompts")
MAPS = ("mask", "cutout", "indexed", "instances", "overlay")
_SAVE = """
import { saveRows } from "./static/formats/saving.js";
const { width, height, pixels } = given;
const rows = (top, count) => pixels.subarray(3 * width * top, 3 * width * (top + count));
const result = {};
for (const [key, [kind, name, masks]] of Object.entries(given.saved)) {
  try {
    const { blob, name: file } = await saveRows(kind, { name, width, height, rows }, masks);
    result[key] = [Buffer.from(await blob.arrayBuffer()).toString("base64"), file, blob.type];
  } catch (error) {
    result[key] = [error.name, error.message];
  }
}
"""


class Saved(NamedTuple):
    """A file that JavaScript wrote."""

    content: bytes
    name: str
    media_type: str

    def texts(self) -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}


class Objects(NamedTuple):
    """Masks for JavaScript and the same ones for Python."""

    given: list[dict[str, Any]]
    masked: MaskedImage
    prompts: list[ObjectPrompt]


def shapes() -> list[Mask]:
    """Return masks with holes, several parts, single pixels and diagonals at the border."""
    random = np.random.default_rng(0)
    ring = np.zeros((9, 11), np.bool_)
    ring[1:8, 1:9] = True
    ring[3:6, 3:7] = False
    ring[4, 4] = True
    dot = np.zeros((4, 5), np.bool_)
    dot[-1, -1] = True
    noise = [
        random.random(random.integers(1, 30, 2)) < share for share in (0.05, 0.3, 0.5, 0.7, 0.95) for _ in range(30)
    ]
    smooth = [ndimage.gaussian_filter(random.normal(0, 1, (150, 130)), sigma) > 0 for sigma in (1, 3, 8)]
    full = np.ones((3, 4), np.bool_)
    diagonal = np.eye(6, dtype=np.bool_)
    return [ring, dot, diagonal, diagonal[::-1], full, ~full, full[:1], full[:, :1], *noise, *smooth]


def pixels_of(hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (*hw, 3), np.uint8)


def objects_of(masks: list[Mask], labels: list[str], prompts: list[dict[str, Any] | None]) -> Objects:
    hw = (masks[0].shape[0], masks[0].shape[1])
    random = np.random.default_rng(2)
    given: list[dict[str, Any]] = []
    records: list[MaskRecord] = []
    read: list[ObjectPrompt] = []
    for place, (mask, label, prompt) in enumerate(zip(masks, labels, prompts, strict=True)):
        boundaries = rle.boundaries_of(mask)
        scores = {
            "predicted_iou": [float(random.random()), 0.03125, None][place % 3],
            "stability_score": [0.96875, float(random.random()), None][place % 3],
            "confidence": None if place % 2 else float(random.random()),
            "point_coords": [[3, 4], [5.5, 6]] if place % 2 else [],
        }
        given.append({"boundaries": boundaries.tolist(), **scores, "label": label, "prompt": prompt})
        records.append(read_record(boundaries, hw, label=label or None, **scores))
        if prompt is not None:
            read.append(replace(read_prompt(prompt, hw), label=label or None))
    return Objects(given, MaskedImage(NAME, hw, records), read)


@pytest.fixture(scope="module")
def labeled() -> Objects:
    """Overlapping objects with labels, among them an empty mask and the parts of one object."""
    random = np.random.default_rng(3)
    masks = [ndimage.gaussian_filter(random.normal(0, 1, (64, 96)), 4) > level for level in (0.01, 0.0, 0.03, 0.02)]
    point = {"points": [[3, 4, 1], [5.5, 6, 0]], "box": None, "steps": [], "chosen": 2}
    stepped = {**point, "steps": [{"points": [], "box": [1, 2, 30, 40.25], "chosen": 0, "steps": []}], "chosen": None}
    box = {"points": [], "box": [1, 2, 30, 40], "steps": [], "chosen": None}
    labels = ["cat", 'Größe, "猫" 😀', "", "cat", "..."]
    return objects_of([*masks, np.zeros((64, 96), np.bool_)], labels, [point, stepped, None, box, None])


@pytest.fixture(scope="module")
def plain() -> Objects:
    """Objects without labels."""
    masks = [mask for mask in shapes() if mask.shape == (150, 130)]
    point = {"points": [[3, 4, 1]], "box": None, "steps": [], "chosen": None}
    return objects_of(masks, [""] * len(masks), [point, None, point])


def save_all(folder: Path, objects: Objects, kinds: tuple[str, ...]) -> dict[str, Saved]:
    height, width = objects.masked.hw
    saved = {kind: [kind, NAME, objects.given] for kind in kinds}
    result = run(folder, _SAVE, width=width, height=height, pixels=pixels_of((height, width)).ravel(), saved=saved)
    return {kind: Saved(base64.b64decode(content), *rest) for kind, (content, *rest) in result.items()}


def expected(folder: Path, kind: str, objects: Objects) -> bytes:
    masked, path = objects.masked, folder / f"expected-{kind}"
    if kind == "prompts":
        return dump(PromptFile({masked.file_name: tuple(objects.prompts)})).encode()
    image = pixels_of(masked.hw)
    labels = labels_of([masked])
    write_masks(kind, path, masked, lambda: image, prompts=objects.prompts, labels=labels, force=True)
    return path.read_bytes()


def assert_equal_text(kind: str, actual: bytes, wanted: bytes) -> None:
    if kind in ("yolo", "csv"):
        assert actual.decode() == wanted.decode()
    else:
        assert json.loads(actual) == json.loads(wanted)


def test_polygons_and_outlines(tmp_path: Path) -> None:
    masks = shapes()
    cases = [{"boundaries": rle.boundaries_of(mask).tolist(), "height": mask.shape[0]} for mask in masks]
    code = """
    import { cornersOf, ringsOf } from "./static/formats/polygons.js";
    import { outlinesOf } from "./static/formats/outlines.js";
    const result = given.cases.map(({ boundaries, height }) => [
      ringsOf(boundaries, height).map(cornersOf), outlinesOf(boundaries, height),
    ]);
    """
    for mask, (rings, parts) in zip(masks, run(tmp_path, code, cases=cases), strict=True):
        assert rings == [ring.tolist() for ring in rings_of(mask)]
        assert parts == [
            {"exterior": part.exterior.tolist(), "holes": [hole.tolist() for hole in part.holes]}
            for part in outlines(mask)
        ]


def test_rounding(tmp_path: Path) -> None:
    code = """
    import { decimals, roundEven } from "./static/formats/masked_image.js";
    const result = given.values.map((value) => [decimals(value, 4), decimals(value, 6), roundEven(value)]);
    """
    values = [0, 1, 0.5, 1.5, 2.5, 1 / 128, 3 / 128, 1 / 32, 3 / 32, 0.00005, 0.99995, 1 / 3, 0.0000005, 0.1 + 0.2]
    assert run(tmp_path, code, values=values) == [[f"{value:.4f}", f"{value:.6f}", round(value)] for value in values]


def test_palette(tmp_path: Path) -> None:
    code = 'import { palette } from "./static/formats/palette.js"; const result = palette(300);'
    assert run(tmp_path, code) == palette(300).tolist()


@pytest.mark.parametrize("name", ["plain", "labeled"])
def test_texts(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    objects: Objects = request.getfixturevalue(name)
    for kind, saved in save_all(tmp_path, objects, TEXTS).items():
        ending, media_type = saving._ENDINGS[kind]
        content = saved.content
        if kind == "yolo" and name == "labeled":
            content, ending, media_type = saved.texts()["Straße 1.tar.txt"], ".yolo.zip", "application/zip"
        assert (saved.name, saved.media_type) == (f"Straße 1.tar{ending}", media_type)
        assert_equal_text(kind, content, expected(tmp_path, kind, objects))


@pytest.mark.parametrize("name", ["plain", "labeled"])
def test_maps(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    objects: Objects = request.getfixturevalue(name)
    for kind, saved in save_all(tmp_path, objects, MAPS).items():
        assert (saved.name, saved.media_type) == (f"Straße 1.tar.{kind}.png", "image/png")
        actual = Image.open(io.BytesIO(saved.content))
        wanted = Image.open(io.BytesIO(expected(tmp_path, kind, objects)))
        assert (actual.mode, actual.size, actual.getpalette()) == (wanted.mode, wanted.size, wanted.getpalette())
        difference = np.abs(np.array(actual).astype(np.int64) - np.array(wanted))
        if kind == "overlay":  # the edges of lines have other shades than OpenCV's
            assert difference.mean() < 8
            assert (difference.max(axis=-1) > 128).mean() < 0.01
        else:
            assert not difference.any(), kind


def test_overlay_without_lines(tmp_path: Path) -> None:
    """The fill of a mask that is larger than a band of rows, away from its outline, is exactly Python's."""
    mask = np.zeros((3000, 900), np.bool_)
    mask[100:2900, 100:800] = True
    objects = objects_of([mask, ~mask], ["", ""], [None, None])
    actual = np.array(Image.open(io.BytesIO(save_all(tmp_path, objects, ("overlay",))["overlay"].content)))
    wanted = np.array(Image.open(io.BytesIO(expected(tmp_path, "overlay", objects))))
    inner = ndimage.binary_erosion(mask, iterations=12) | ndimage.binary_erosion(~mask, iterations=12)
    assert inner.mean() > 0.9
    assert np.array_equal(actual[inner], wanted[inner])


def test_archives(tmp_path: Path, labeled: Objects) -> None:
    saved = save_all(tmp_path, labeled, ("all", "masks", "yolo"))
    masked = labeled.masked
    source = saving._Source(masked, labeled.prompts, lambda: pixels_of(masked.hw))
    kinds = {"all": ["prompts", *saving._IN_ALL, "masks"], "masks": ["masks"], "yolo": ["yolo"]}
    endings = {"all": ".mobilesam.zip", "masks": ".masks.zip", "yolo": ".yolo.zip"}
    for kind, each in saved.items():
        wanted = saving._archive(source, kinds[kind], endings[kind])
        assert each[1:] == wanted[1:]
        files, others = each.texts(), Saved(*wanted).texts()
        assert list(files) == list(others)
        for name, content in others.items():
            if name.endswith(".png"):
                actual, expected_pixels = (np.array(Image.open(io.BytesIO(file))) for file in (files[name], content))
                assert np.array_equal(actual, expected_pixels)
            elif name.endswith("json"):
                assert json.loads(files[name]) == json.loads(content)
            else:
                assert files[name] == content


def test_names_of_classes(tmp_path: Path) -> None:
    labels = ["cat", 'a "b" \\ c', "猫 😀", "\x7f"]
    write_yolo_names(tmp_path / "data.yaml", labels)
    code = """
    import { yoloNamesText } from "./static/formats/yolo.js";
    const result = yoloNamesText(given.labels);
    """
    (tmp_path / "script").mkdir()
    assert run(tmp_path / "script", code, labels=labels) == (tmp_path / "data.yaml").read_text(encoding="utf-8")


def test_kinds(tmp_path: Path) -> None:
    code = 'import * as saving from "./static/formats/saving.js"; const result = saving.KINDS;'
    assert run(tmp_path, code) == [kind for kind in saving.KINDS if kind != "parquet"]


def test_labels_and_stems(tmp_path: Path) -> None:
    mask: dict[str, Any] = objects_of([np.ones((2, 3), np.bool_)], [""], [None]).given[0]
    names = ["a/b.c.png", ".hidden", "", "x.", "a/./b/", "..", "no ending"]
    labels = {"a\tb \u2028 c\u200b ": "a b c", "\n": "", " object ": "object"}
    saved = {f"name {name}": ["csv", name, [mask]] for name in names}
    saved |= {f"label {label}": ["csv", "a", [{**mask, "label": label}]] for label in labels}
    result = run(tmp_path, _SAVE, width=3, height=2, pixels=np.zeros(18, np.uint8), saved=saved)
    for name in names:
        assert result[f"name {name}"][1] == (Path(name).stem or "image") + ".csv"
    for label, clean in labels.items():
        line = base64.b64decode(result[f"label {label}"][0]).decode().splitlines()[1]
        assert line.split(",")[15] == clean


def test_refused(tmp_path: Path) -> None:
    mask: dict[str, Any] = objects_of([np.ones((2, 3), np.bool_)], [""], [None]).given[0]
    background = {"points": [[1, 1, 0]], "box": None, "steps": [], "chosen": None}
    saved = {
        "format": ["parquet", "a", [mask]],
        "none": ["coco", "a", []],
        "many": ["coco", "a", [mask] * 5001],
        "label": ["coco", "a", [{**mask, "label": "😀" * 101}]],
        "prompt": ["coco", "a", [{**mask, "prompt": background}]],
        "prompts": ["prompts", "a", [mask]],
        "indexed": ["indexed", "a", [mask] * 256],
    }
    result = run(tmp_path, _SAVE, width=3, height=2, pixels=np.zeros(18, np.uint8), saved=saved)
    assert {error for error, _ in result.values()} == {InputError.__name__}
    messages = {key: message for key, (_, message) in result.items()}
    assert messages.pop("format").startswith("kind must be one of overlay, mask, ")
    assert messages == {
        "none": "There is no mask to save. Click the object first.",
        "many": "objects must be a list of at most 5000, got 5001; save fewer at once",
        "label": "objects[0].label must have at most 100 characters, got 101; write a shorter one",
        "prompt": "objects[0].prompt must have a foreground point or a box, got background points alone; add a point "
        "of label 1 on the object, or a box around it",
        "prompts": "There is no prompt to save. Click the object first.",
        "indexed": "the masks of a map must be at most 255, got 256; write the 16-bit map instead",
    }
    large = {"large": ["overlay", "a", [mask] * 3]}
    result = run(tmp_path, _SAVE, width=100_000, height=100_000, pixels=np.zeros(0, np.uint8), saved=large)
    assert result["large"][1] == (
        "3 masks of 100000 x 100000 pixels are too many for one file in this format. Save them as COCO, or save fewer "
        "at once."
    )
