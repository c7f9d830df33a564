"""Valid files changed at random are read or refused in a sentence: no reader raises anything but MobileSamError."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import io
import json
import random
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from mobilesam import weights
from mobilesam.batch import read_prompts_or_coco
from mobilesam.batch.archives import members
from mobilesam.embedding import load_embedding, save_embedding
from mobilesam.errors import MobileSamError
from mobilesam.evaluate import load_annotations, load_coco
from mobilesam.evaluate.coco import read_instances
from mobilesam.formats.coco import read_coco, read_coco_prompts, write_coco
from mobilesam.formats.detections import filtered
from mobilesam.formats.geojson import read_geojson, write_geojson
from mobilesam.formats.labelme import read_labelme, write_labelme
from mobilesam.formats.parquet import read_parquet, write_parquet
from mobilesam.formats.png import read_map, write_indexed
from mobilesam.formats.yolo import read_yolo, write_yolo
from mobilesam.image.read import count_frames, read_image
from mobilesam.masks import choosers
from mobilesam.model import Embedding
from mobilesam.onnx import fixed_folder
from mobilesam.prompts.file import ObjectPrompt, PromptFile, dump, read_prompts
from mobilesam.weights import checkpoint, tensor_files
from tests.automatic.color_model import ColorModel
from tests.formats.scenes import LABELLED
from tests.tuned_model import own_choosers

# Pillow's remarks on what it repairs, and the formats' on what they cannot hold.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FUZZ = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

NASTY: list[Any] = [
    *(None, True, False, 0, -1, 1, 2.5, 10**400, -(10**400), 2**31, 2**63, 1e300, -1e300, 1e-300),
    *(float("nan"), float("inf"), "", "x", "\ud800", "a\0b", "9" * 400, [], {}, [[]], [None], [1], {"a": 1}),
    *([[1, 2], [3]], [[[1e300, 1]] * 4], {"size": [1, 1], "counts": "~"}, [10**400] * 6, [float("nan")] * 4),
]


def change_json(document: Any, chance: random.Random) -> Any:
    """Return a document with one to three of its values, keys or entries changed."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        here = document
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(here[key], dict | list) and here[key] and chance.random() < 0.8:
                here = here[key]
                continue
            kind = chance.random()
            if kind < 0.7:
                here[key] = copy.deepcopy(chance.choice(NASTY))
            elif kind < 0.85:
                del here[key]
            elif isinstance(here, list):
                here.append(copy.deepcopy(here[key]))
            break
    return document


def change_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return bytes of which some are changed, cut off, doubled or added."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed)) if changed else 0
        kind = chance.random()
        if kind < 0.7 and changed:
            changed[place] = chance.choice([0, 255, changed[place] ^ 1 << chance.randrange(8), chance.randrange(256)])
        elif kind < 0.8:
            del changed[place:]
        elif kind < 0.9:
            del changed[place : place + chance.randint(1, 9)]
        else:
            changed[place:place] = chance.randbytes(chance.randint(1, 9))
    return bytes(changed)


def coco_everywhere(path: Path) -> None:
    """Read a COCO file in all three ways, and all its masks."""
    problems = []
    for read in (read_coco, read_coco_prompts, functools.partial(load_coco, images=path.parent)):
        try:
            result = read(path)
        except MobileSamError as error:
            problems.append(error)
            continue
        if read not in (read_coco, read_coco_prompts):
            for each in result.images:
                read_instances(each, LABELLED.hw, result.categories)
    if problems:
        raise problems[0]


DETECTIONS = [
    {"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5, "id": 3},
    {"file_name": "cat.png", "category_name": "cat", "bbox": [1.5, 2, 30, 40], "score": 1, "id": "a"},
]
DATASET = {
    "images": [{"id": 7, "file_name": "cat.png"}, {"id": 8, "file_name": "dog.png"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}],
    "categories": [{"id": 1, "name": "cat"}],
}
RECTANGLES = {"shapes": [{"label": "cat", "shape_type": "rectangle", "points": [[9, 8], [1, 2]], "group_id": 4}] * 2}
TABLE = "image,x1,y1,x2,y2,label,score,id\ncat.png,1,2,30,40,cat,0.5,3\ndog.png,1,2,30,40,dog,1,4\n"
YOLO = "0 0.5 0.5 0.2 0.2 0.9\n1 0.1 0.1 0.3 0.1 0.3 0.4\n"


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def read_boxes(path: Path, suffix: str = ".json", *, in_folder: bool = False) -> None:
    """Read the boxes of a file, or of a folder with this file, and look at all that ``mobilesam batch`` uses."""
    with tempfile.TemporaryDirectory() as folder:
        copy_of = Path(folder) / f"a{suffix}"
        copy_of.write_bytes(path.read_bytes())
        prompts = filtered(read_prompts_or_coco(Path(folder) if in_folder else copy_of), 0.1, None)
    for name, objects in prompts.images.items():
        repr([prompt.in_pixels((30, 40)) for prompt in objects])
        prompts.name_of(f"folder/{name}")


def read_truth(path: Path, suffix: str) -> None:
    """Read a file as ground truth, alone and in a folder, and all its masks."""
    with tempfile.TemporaryDirectory() as folder:
        images, copy_of = Path(folder) / "images", Path(folder) / f"labels/dog{suffix}"
        images.mkdir()
        Image.new("1", LABELLED.hw[::-1]).save(images / "dog.png")
        copy_of.parent.mkdir()
        copy_of.write_bytes(path.read_bytes())
        for annotations in (copy_of, copy_of.parent):
            with contextlib.suppress(MobileSamError):
                dataset = load_annotations(annotations, images)
                for each in dataset.images:
                    read_instances(each, LABELLED.hw, dataset.categories)


def read_dataset(path: Path) -> None:
    """Read a results list with a changed dataset."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        write_json(results, DETECTIONS)
        read_prompts_or_coco(results, path)


PART = {"file": "encoder.tflite", "sha256": "0" * 64}
ENCODER = {"role": "encoder", "file": "encoder.tflite", "parts": [PART]}
EXPORT = {
    **{"runtime": "litert", "contract": "1", "model": "vit_t", "weights_sha256": "0", "precision": "int8"},
    **{"points": 6, "frame_hw": [1024, 768], "files": [ENCODER, {**ENCODER, "role": "decoder"}]},
}


def read_export(path: Path) -> None:
    """Read a manifest of fixed graphs, in a folder with a file that it names, whose digest may be right."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "encoder.tflite").write_bytes(b"")
        content = path.read_bytes().replace(b"0" * 64, hashlib.sha256(b"").hexdigest().encode())
        (Path(folder) / "manifest.json").write_bytes(content)
        fixed_folder.runtime_of(Path(folder))
        fixed_folder.read(Path(folder), "litert")


CAT = ObjectPrompt(((1.0, 2.0), (3.0, 4.0)), (1, 0), (0, 0, 9, 9), "cat")
JSON: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "coco": (lambda path: write_coco(path, [LABELLED]), coco_everywhere),
    "labelme": (lambda path: write_labelme(path, LABELLED), read_labelme),
    "geojson": (lambda path: write_geojson(path, LABELLED), read_geojson),
    "truth of coco": (lambda path: write_coco(path, [LABELLED]), functools.partial(read_truth, suffix=".json")),
    "truth of labelme": (lambda path: write_labelme(path, LABELLED), functools.partial(read_truth, suffix=".json")),
    "truth of geojson": (lambda path: write_geojson(path, LABELLED), functools.partial(read_truth, suffix=".geojson")),
    "prompts": (
        lambda path: path.write_text(dump(PromptFile({"a.png": (CAT,), "b.png": (CAT, ObjectPrompt(box=CAT.box))}))),
        read_prompts,
    ),
    "manifest of an export": (functools.partial(write_json, content=EXPORT), read_export),
    "results list": (functools.partial(write_json, content=DETECTIONS), read_boxes),
    "dataset": (functools.partial(write_json, content=DATASET), read_dataset),
    "coco boxes": (functools.partial(write_json, content=DATASET), read_boxes),
    "labelme folder": (
        functools.partial(write_json, content=RECTANGLES),
        functools.partial(read_boxes, in_folder=True),
    ),
}


@functools.cache
def written(name: str, folder: Path) -> bytes:
    path = folder / f"{name}.valid"
    (JSON | BINARY)[name][0](path)
    return path.read_bytes()


def survives(read: Callable[[Path], object], path: Path) -> None:
    with contextlib.suppress(MobileSamError):
        read(path)


@pytest.mark.parametrize("name", JSON)
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_changed_values(tmp_path_factory, name: str, seed: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "changed.json"
    path.write_text(json.dumps(change_json(json.loads(written(name, folder)), random.Random(seed))))
    survives(JSON[name][1], path)


def write_image(path: Path, suffix: str) -> None:
    photo = Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
    photo.save(path, suffix, **({"save_all": True, "append_images": [photo, photo]} if suffix != "JPEG" else {}))


def read_photo(path: Path) -> None:
    count_frames(path.read_bytes())
    read_image(path, max_pixels=10**6)


class Features(ColorModel):
    def dump_features(self, features: Any) -> Any:
        return features


def write_embedding(path: Path) -> None:
    target = path.with_suffix(".npz")
    features = np.zeros((1, 256, 64, 64), np.float32)
    save_embedding(target, Embedding(features, (30, 40), (768, 1024), "d"), Features())
    path.write_bytes(target.read_bytes())


def read_manifest(path: Path) -> None:
    store = weights.Store(path.parent, path.read_bytes().decode(errors="replace"))
    store.entry("mobile_sam")


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name in ("a.png", "folder/" + 120 * "b" + ".jpg", "c.txt", "d.png"):
            member = tarfile.TarInfo(name)
            member.size = 600
            tar.addfile(member, io.BytesIO(bytes(600)))


def write_image_rows(path: Path) -> None:
    rows = [{"bytes": bytes([row]) * 50, "path": f"{row}.png"} for row in range(9)]
    parquet.write_table(pyarrow.table({"image": rows}), path, row_group_size=4)


def read_archive(path: Path, suffix: str) -> None:
    """Read all images; one that cannot be read does not hinder the next one."""
    with members(path.replace(path.with_suffix(suffix))) as images:
        for image in images:
            with contextlib.suppress(MobileSamError):
                image.content()


BINARY: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    **JSON,
    "table": (lambda path: path.write_text(TABLE), functools.partial(read_boxes, suffix=".csv")),
    "yolo folder": (lambda path: path.write_text(YOLO), functools.partial(read_boxes, suffix=".txt", in_folder=True)),
    **{kind: (functools.partial(write_image, suffix=kind), read_photo) for kind in ("GIF", "TIFF", "PNG", "WEBP")},
    "yolo": (
        lambda path: write_yolo(path, LABELLED.records, ("dog", 'ring: "round"')),
        lambda path: read_yolo(path, LABELLED.hw),
    ),
    "truth of yolo": (
        lambda path: write_yolo(path, LABELLED.records, ("dog", 'ring: "round"')),
        functools.partial(read_truth, suffix=".txt"),
    ),
    "truth of a map": (lambda path: write_indexed(path, LABELLED), functools.partial(read_truth, suffix=".png")),
    "parquet": (lambda path: write_parquet(path, [LABELLED]), lambda path: list(read_parquet(path))),
    "tar of images": (write_tar, functools.partial(read_archive, suffix=".tar")),
    "images in Parquet": (write_image_rows, functools.partial(read_archive, suffix=".parquet")),
    "map": (lambda path: write_indexed(path, LABELLED), read_map),
    "embedding": (write_embedding, lambda path: load_embedding(path, Features())),
    "manifest": (lambda path: path.write_text(weights.default_store().manifest), read_manifest),
    "safetensors": (
        lambda path: tensor_files.write_safetensors(path, {"a.weight": np.zeros((2, 3), np.float32)}),
        checkpoint.read,
    ),
    "choosers": (lambda path: choosers.write(path, own_choosers("a" * 64)), choosers.read),
}


@pytest.mark.parametrize("name", BINARY)
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_changed_bytes(tmp_path_factory, name: str, seed: int) -> None:
    folder, chance = tmp_path_factory.getbasetemp(), random.Random(seed)
    content = written(name, folder)
    if name == "embedding":  # most of which are features, where a change is harmless
        edge = 400
        content = change_bytes(content[:edge], chance) + content[edge:-900] + change_bytes(content[-900:], chance)
    else:
        content = change_bytes(content, chance)
    path = folder / "changed"
    path.write_bytes(content)
    survives(BINARY[name][1], path)


@pytest.mark.torch
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_changed_checkpoints_of_torch(tmp_path_factory, seed: int) -> None:
    import torch

    buffer = io.BytesIO()
    torch.save({"model": {"a": torch.zeros(4), "b": torch.ones(2, 2)}}, buffer)
    path = tmp_path_factory.getbasetemp() / "changed.pt"
    path.write_bytes(change_bytes(buffer.getvalue(), random.Random(seed)))
    survives(checkpoint.read, path)
