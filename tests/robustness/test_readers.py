"""Every reader refuses what it cannot use in a sentence: special files, bombs, deep nesting, absurd values."""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam.batch import read_prompts_or_coco
from mobilesam.batch.archives import members
from mobilesam.embedding import load_embedding
from mobilesam.errors import CheckpointError, InputError, MobileSamError
from mobilesam.evaluate import load_annotations, load_coco
from mobilesam.evaluate.coco import read_instances
from mobilesam.evaluate.journal import read_journal
from mobilesam.evaluate.runner import Settings, _Run
from mobilesam.files import MAX_MODEL_BYTES
from mobilesam.formats.coco import read_coco, read_coco_prompts
from mobilesam.formats.geojson import read_geojson
from mobilesam.formats.labelme import read_labelme
from mobilesam.formats.parquet import read_parquet
from mobilesam.formats.png import read_map
from mobilesam.formats.segmentation import decode_segmentation
from mobilesam.formats.yolo import read_yolo
from mobilesam.image import read as photos
from mobilesam.masks import choosers
from mobilesam.onnx import OnnxSam
from mobilesam.prompts.file import read_prompts
from mobilesam.weights import checkpoint

MOBILESAM = [sys.executable, "-m", "mobilesam"]


def read_archive(path: Path) -> list[bytes]:
    with members(path) as images:
        return [image.content() for image in images]


READERS: dict[str, Callable[[Path], Any]] = {
    "image": photos.read_image,
    "prompts": read_prompts,
    "annotations": lambda path: load_annotations(path, path.parent),
    "coco masks": read_coco,
    "coco prompts": read_coco_prompts,
    "prompts or coco": read_prompts_or_coco,
    "labelme": read_labelme,
    "geojson": lambda path: read_geojson(path, (9, 9)),
    "yolo": lambda path: read_yolo(path, (9, 9)),
    "parquet": lambda path: list(read_parquet(path)),
    "mask map": read_map,
    "eval journal": read_journal,
    "checkpoint": checkpoint.read,
    "choosers": choosers.read,
    "archive": read_archive,
    "ONNX pair": lambda path: checkpoint.read([path, path]),
    "ONNX files": OnnxSam.from_files,
}


def special(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        bound = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket has at most about 100 characters
        try:
            bound.bind(kind)
        finally:
            os.chdir(here)
            bound.close()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "zeros":
        return Path("/dev/zero")
    elif kind == "long name":
        return folder / ("x" * 5000)
    elif kind == "NUL":
        return folder / "a\0b"
    elif kind == "no text":
        return folder / "a\ud800b"
    return path


NAMED = (
    "image",
    "prompts",
    "annotations",
    "coco masks",
    "coco prompts",
    "prompts or coco",
    "labelme",
    "geojson",
    "yolo",
)


@pytest.mark.parametrize("reader", [name for name in READERS if name not in NAMED])
def test_a_pipe_is_no_model_and_no_journal(tmp_path: Path, reader: str) -> None:
    with pytest.raises(MobileSamError):
        READERS[reader](special(tmp_path, "pipe"))


@pytest.mark.parametrize("reader", NAMED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pipe_that_is_named_gives_what_a_file_gives(tmp_path: Path, reader: str) -> None:
    """More than fits into a pipe at once, and read to its end: a second opening would wait forever."""
    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)).save(image, "PNG")
    shape = {"label": "cat", "points": [[1, 1], [7, 1], [7, 7]], "shape_type": "polygon"}
    documents = {
        "prompts": {"version": 1, "objects": [{"box": [1, 2, 3, 4]}]},
        "labelme": {"imageHeight": 9, "imageWidth": 9, "imagePath": "a.png", "shapes": [shape]},
        "geojson": {"type": "FeatureCollection", "features": []},
    }
    content = json.dumps(documents.get(reader, coco())).encode() + b" " * 100_000
    if reader in ("image", "yolo"):
        content = image.getvalue() if reader == "image" else b"0 0.1 0.1 0.9 0.1 0.9 0.9\n" * 5000
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(content)
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        written = threads.submit(pipe.write_bytes, content)
        try:
            result = READERS[reader](pipe)
        finally:
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # a writer that nobody has read from ends, too
        assert written.result() == len(content)
    expected = READERS[reader](file)
    if reader in ("labelme", "yolo", "geojson"):
        result, expected = result.records, expected.records
    np.testing.assert_equal(result, expected)


@pytest.mark.parametrize("kind", ["socket", "loop", "zeros", "long name", "NUL", "no text", "absent"])
@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_read(tmp_path: Path, reader: str, kind: str) -> None:
    with pytest.raises(MobileSamError):
        READERS[reader](special(tmp_path, kind))


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "reader",
    ["prompts", "annotations", "coco masks", "coco prompts", "prompts or coco", "labelme", "geojson", "eval journal"],
)
@pytest.mark.parametrize("text", [DEEP, '{"a":' * 100_000, '{"images": ' + DEEP, '{"features": ' + "9" * 5000 + "}"])
def test_json_of_any_depth_is_refused(tmp_path: Path, reader: str, text: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text + "\n")
    with pytest.raises(InputError):
        READERS[reader](path)


@pytest.mark.parametrize(
    "reader",
    [
        "prompts",
        "annotations",
        "coco masks",
        "coco prompts",
        "prompts or coco",
        "labelme",
        "geojson",
        "yolo",
        "checkpoint",
    ],
)
def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"\x10\0\0\0\0\0\0\0{")  # so that it can be a checkpoint
        file.truncate(MAX_MODEL_BYTES + 1)  # takes no place on the disk
    with pytest.raises(MobileSamError, match=r"4,295 MB|4\.3 GB|4,294,967,297 bytes"):
        READERS[reader](path)


class Endless(io.RawIOBase):
    """A stream of zeros that counts how many it gave."""

    given = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "asked for all of an endless stream"
        self.given += size
        return bytes(size)


def test_an_endless_image_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert photos.MAX_BYTES == 2**30
    monkeypatch.setattr(photos, "MAX_BYTES", 2**20)
    stream = Endless()
    with pytest.raises(InputError, match=r"image file object must be readable, got more than the 1 MB that are read"):
        photos.read_image(stream)
    assert stream.given == 2**20 + 1


def test_endless_prompts_and_pipes_on_the_command_line(tmp_path: Path, photo) -> None:
    os.mkfifo(tmp_path / "pipe")
    for arguments in (
        ["predict", photo("chelsea.png"), "--prompts", "/dev/zero"],
        ["predict", "/dev/tty", "--point", "1,2"],
        ["batch", photo("chelsea.png"), "--prompts", "/dev/zero", "--out", tmp_path / "out"],
        ["predict", photo("chelsea.png"), "--point", "1,2", "--model", tmp_path / "pipe"],
    ):
        finished = subprocess.run([*MOBILESAM, *map(str, arguments)], capture_output=True, text=True, timeout=60)
        assert finished.returncode == 1
        assert "not a regular file" in finished.stderr
        assert "Traceback" not in finished.stderr


@pytest.mark.weights
def test_pipes_on_the_command_line(tmp_path: Path, photo) -> None:
    """``mobilesam predict <(cat image)``, ``predict /dev/stdin``, ``batch --prompts <(cat prompts)``."""
    image = tmp_path / "a.png"
    Image.open(photo("chelsea.png")).resize((90, 60)).save(image)
    (tmp_path / "prompts.json").write_text('{"version": 1, "objects": [{"points": [[40, 30]]}]}')
    line = "predict <(cat a.png) --prompts <(cat prompts.json) --out one && predict /dev/stdin --point 40,30 --out two"
    line += " && batch a.png --prompts <(cat prompts.json) --workers 1 --out three"
    for command in ("predict", "batch"):
        line = line.replace(f"{command} ", f"{sys.executable} -m mobilesam {command} ")
    finished = subprocess.run(["bash", "-c", line], cwd=tmp_path, input=image.read_bytes(), capture_output=True)
    assert (finished.returncode, b"Traceback" in finished.stderr) == (0, False), finished.stderr
    assert all(list((tmp_path / name).iterdir()) for name in ("one", "two", "three"))


def test_deep_prompts_of_a_batch_are_a_sentence(tmp_path: Path, photo) -> None:
    (tmp_path / "deep.json").write_text(DEEP)
    arguments = ["batch", photo("chelsea.png"), "--prompts", tmp_path / "deep.json", "--out", tmp_path / "out"]
    finished = subprocess.run([*MOBILESAM, *map(str, arguments)], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr.count("\n")) == (1, 1)
    assert "it is nested too deeply" in finished.stderr


def test_an_evaluation_opens_no_pipe_of_its_dataset(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (photo,) = load_coco(write(tmp_path, coco()), tmp_path).images
    record = _Run(None, Settings(), None).measure(photo, {})
    assert record["error"].startswith("image must be a regular file, got the pipe ")


@pytest.mark.weights
def test_a_circle_of_links_is_named(tmp_path: Path, command) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    outcome = command("predict", tmp_path / "a.png", "--point", "1,2", "--out", tmp_path / "out")
    assert (outcome.code, "Too many levels of symbolic links" in outcome.err) == (1, True)


def test_memory_that_runs_out_is_one_line(tmp_path: Path) -> None:
    """A PNG of a few kilobytes that decodes to 600 MB, in a process that may have 1.5 GB of addresses."""
    path = tmp_path / "large.png"
    Image.new("1", (14_000, 14_000)).save(path)
    for arguments in (["predict", path, "--point", "1,2"], ["weights", "list"]):
        code = (
            "import sys; from mobilesam.cli import main\n"
            "import mobilesam.weights\n"
            "def names(*_): raise MemoryError('Unable to allocate 9 GiB')\n"
            "mobilesam.weights.store.Store.entries = names\n"
            "main()"
        )
        start = [sys.executable, "-c", code] if arguments[0] == "weights" else MOBILESAM
        finished = subprocess.run(
            [*start, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (900_000_000, 900_000_000)),
        )
        assert finished.returncode == 1, finished.stderr
        expected = (
            "Not enough memory to decode "
            if arguments[0] == "predict"
            else "error: mobilesam weights ran out of memory (Unable to"
        )
        assert expected in finished.stderr
        assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("locale", "arguments"),
    [
        (
            {"LC_ALL": "C.UTF-8"},
            ["everything", "--points-per-side", "2", "--format", "overlay,coco,csv,labelme,geojson"],
        ),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, ["predict", "--point", "40,30"]),
    ],
    ids=["UTF-8", "C"],
)
@pytest.mark.weights
def test_names_that_are_not_utf8(tmp_path: Path, photo, locale: dict[str, str], arguments: list[str]) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(name, "wb") as file:  # noqa: PTH123 (a name of bytes)
        Image.open(photo("chelsea.png")).resize((90, 60)).save(file, "PNG")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LC_")} | locale
    command, *options = arguments
    arguments = [*MOBILESAM, command, name, name + b"x", *options, "--out", str(tmp_path / "out")]
    finished = subprocess.run(arguments, capture_output=True, env=environment)
    assert finished.returncode == 1  # for the second one
    assert b"error: image must be an existing file" in finished.stderr
    assert b"Traceback" not in finished.stderr
    assert os.fsencode(tmp_path / "out") + b"/caf\xe9-overlay.png" in map(os.fsencode, (tmp_path / "out").iterdir())
    assert b"/out/caf" in finished.stdout


# COCO


def coco(**changes: Any) -> dict[str, Any]:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3], "segmentation": [[1, 1, 4, 1, 4, 4]]}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [annotation | changes.pop("annotation", {})],
        "categories": [{"id": 1, "name": "cat"}],
    }
    document["images"][0] |= changes.pop("image", {})
    return document | changes


def write(folder: Path, document: Any) -> Path:
    path = folder / "coco.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("categories", [None, [], ["cat"], [{"name": "cat"}], [{"id": [1], "name": "cat"}]])
def test_coco_without_usable_categories_is_read(tmp_path: Path, categories: Any) -> None:
    path = write(tmp_path, coco(categories=categories))
    assert read_coco_prompts(path).images["a.png"][0].box == (1, 1, 4, 4)
    assert len(read_coco(path)[0].records) == 1
    dataset = load_coco(path, tmp_path)
    assert len(read_instances(dataset.images[0], (9, 9), dataset.categories)[0]) == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (coco(image={"id": [1]}), "images[0] whose 'id' is neither a number nor text"),
        (coco(image={"file_name": {}}), "images[0] whose 'file_name' is neither a number nor text"),
        (coco(images=[5]), "images[0] without 'id'"),
        (coco(annotation={"image_id": {}}), "annotations[0] whose 'image_id' is neither a number nor text"),
        (coco(annotation={"category_id": [1]}), "annotations[0] whose 'category_id' is neither a number nor text"),
        (coco(categories={"1": "cat"}), "'categories' that are not a list"),
    ],
)
def test_coco_of_a_wrong_structure_says_where(tmp_path: Path, document: Any, message: str) -> None:
    path = write(tmp_path, document)
    for read in (read_coco, read_coco_prompts, lambda path: load_coco(path, tmp_path)):
        with pytest.raises(InputError) as error:
            read(path)
        assert message in str(error.value)


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), True, "3", None, [3], 1e300])
def test_coco_boxes_hold_finite_numbers(tmp_path: Path, value: Any) -> None:
    path = write(tmp_path, coco(annotation={"bbox": [1, 1, value, 3]}))
    with pytest.raises(
        InputError, match=r"annotation 1 of coco\.json: (bbox must be numbers|the box must have a width)"
    ):
        read_coco_prompts(path)
    dataset = load_coco(path, tmp_path)
    _, skipped = read_instances(dataset.images[0], (9, 9), dataset.categories)
    assert skipped[0]["reason"].startswith("bbox must be four finite numbers")


@pytest.mark.parametrize("value", [10**400, 10**9, 0, -5, True, 9.5, 1e300, float("nan"), "9", None, [9]])
def test_coco_images_have_a_possible_size(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match=r"annotations coco\.json must state each image's size, got 'a") as error:
        read_coco(write(tmp_path, coco(image={"width": value})))
    assert str(error.value).endswith("; write width and height as whole numbers")
    assert str(error.value).count(";") == 1, "one remedy"


@pytest.mark.parametrize(("value", "label"), [(None, None), (7, "7"), (1.5, "1.5"), ("cat", "cat"), ("object", None)])
def test_labels_may_be_null_or_numbers(tmp_path: Path, value: Any, label: str | None) -> None:
    """And sizes may be written as floats, as JavaScript and pandas do."""
    geometry = {"type": "Polygon", "coordinates": [[[1, 1], [7, 1], [7, 7], [1, 1]]]}
    feature = {"type": "Feature", "properties": {"label": value}, "geometry": geometry}
    shape = {"label": value, "points": [[1, 1], [7, 1], [7, 7]], "shape_type": "polygon"}
    for reader, document in (
        (
            read_geojson,
            {
                "picture": {"width": 9.0, "height": 8.0, "transform": [1, 0, 0, 0, 1, 0]},
                "type": "FeatureCollection",
                "features": [feature],
            },
        ),
        (read_labelme, {"imageHeight": 8.0, "imageWidth": 9.0, "imagePath": "a.png", "shapes": [shape]}),
    ):
        image = reader(write(tmp_path, document))
        assert (image.hw, [*map(type, image.hw)]) == ((8, 9), [int, int])
        assert image.records[0].get("label") == label
    (image,) = read_coco(write(tmp_path, coco(image={"width": 9.0, "height": 9.0})))
    assert image.hw == (9, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"picture": {"width": 9.5, "height": 8, "transform": [1, 0, 0, 0, 1, 0]}},
            "width 9.5 and height 8, which are no",
        ),
        (
            {"picture": {"width": 9, "height": 8, "transform": [0] * 6}},
            "the transform [0, 0, 0, 0, 0, 0], which is not",
        ),
        ({"label": True}, "the label True, which is neither text nor a number"),
        ({"label": ["cat"]}, "the label ['cat'], which is neither"),
        ({"predicted_iou": "high"}, "the score 'high', which is not a number"),
        ({"point_coords": [1]}, "the points [1], which are not a list of pairs"),
    ],
)
def test_geojson_of_a_wrong_content_is_one_sentence(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    document = {"features": [{"properties": change, "geometry": None}]}
    path = write(tmp_path, document | ({"picture": change["picture"]} if "picture" in change else {}))
    with pytest.raises(InputError) as error:
        read_geojson(path, (8, 9))
    assert str(error.value).startswith(f"coco.json must be GeoJSON, got {message}")
    assert str(error.value).endswith("; give a FeatureCollection of polygons")
    assert str(error.value).count(";") == 1, "one remedy"


@pytest.mark.parametrize(
    "segmentation",
    [
        [[0, 0, 1e9, 0, 1e9, 1e9]],  # pycocotools would walk along its edges, counting in 32 bits
        [[0, 0, 9e8, 9e8] * 50],
        [[1, 1, 4, 1, 4, 10**400]],
        [[True] * 6],
        {"size": 5, "counts": [81]},
        {"size": None, "counts": [81]},
        {"size": [9, 9], "counts": [True, 80]},
        {"size": [9, 9], "counts": [10**400]},
        {"size": [9, 9], "counts": "`" * 1_000_000},
        {"size": [9, 9], "counts": "\ud800"},
    ],
)
def test_absurd_segmentations_are_refused_at_once(segmentation: Any) -> None:
    with pytest.raises(InputError):
        decode_segmentation(segmentation, (9, 9))


# Checkpoints


def test_a_zip_bomb_is_refused_by_what_it_says_of_itself(tmp_path: Path) -> None:
    """4 GiB of zeros as data.pkl, or as a tensor, in 4 MB."""
    bomb = tmp_path / "bomb.pt"
    block = bytes(2**24)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data.pkl", "w") as part:
        for _ in range(8):
            part.write(block)
    with pytest.raises(CheckpointError, match=r"got a ZIP archive that unpacks to 0\.1 GB"):
        checkpoint.read(bomb)
    content = bytearray(bomb.read_bytes())
    tensor = content.replace(b"a/data.pkl", b"a/data/123")
    place = tensor.rindex(b"PK\x01\x02") + 24
    tensor[place : place + 4] = (2**31).to_bytes(4, "little")  # its size by the directory
    bomb.write_bytes(tensor)
    with pytest.raises(CheckpointError, match=r"got a ZIP archive that unpacks to 2\.1 GB"):
        checkpoint.read(bomb)


def test_parts_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "overlap.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", bytes(100_000))
        archive.filelist += [archive.filelist[-1]] * 5  # five more names for the same bytes
    with pytest.raises(CheckpointError, match="got a ZIP archive whose parts overlap"):
        checkpoint.read(path)


@pytest.mark.torch
def test_a_tensor_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    import torch

    honest, claims = tmp_path / "honest.pt", tmp_path / "claims.pt"
    torch.save({"a": torch.zeros(4)}, honest)
    with zipfile.ZipFile(honest) as archive, zipfile.ZipFile(claims, "w") as out:
        for name in archive.namelist():
            out.writestr(name, archive.read(name).replace(b"K\x04tq", b"J\0\0\0\x40tq"))
    torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(10**6, 10**6)}, tmp_path / "expanded.pt")
    for path in (claims, tmp_path / "expanded.pt"):
        with pytest.raises(CheckpointError, match="must be a checkpoint of MobileSAM or SAM"):
            checkpoint.read(path)


# Embeddings


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory, onnx_sam) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("embedding") / "a.npz"
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(np.zeros((30, 40, 3), np.uint8))
    predictor.save_embedding(path)
    return dict(np.load(path))


@pytest.mark.weights
@pytest.mark.parametrize(
    "change",
    [
        {"features": np.zeros((1, 256, 32, 32), np.float32)},
        {"features": np.zeros((2, 256, 64, 64), np.float32)},
        {"features": np.zeros((256, 64, 64), np.float32)},
        {"features": np.full((1, 256, 64, 64), np.nan, np.float32)},
        {"features": np.full((1, 256, 64, 64), 1e300)},
        {"features": np.zeros((1, 256, 64, 64), np.int64)},
        {"features": np.array("text")},
        {"features": np.array([None])},
        {"original_hw": np.array([0, 40])},
        {"original_hw": np.array([-30, 40])},
        {"original_hw": np.array([2**62, 40])},
        {"original_hw": np.array([30.5, 40])},
        {"original_hw": np.array([30, 40, 3])},
        {"original_hw": np.array("text")},
        {"input_hw": np.array([768, 1025])},
        {"input_hw": np.array([np.nan, 1024])},
        {"input_hw": np.array(1024)},
        {"weights_id": np.arange(5)},
        {"image_digest": np.arange(5)},
        {"format": np.arange(5)},
        {"more": np.zeros(10**8, np.uint8)},
    ],
    ids=lambda change: "-".join(f"{key} {value.dtype} {value.shape}" for key, value in change.items()),
)
def test_embeddings_of_nonsense_are_refused_by_name(tmp_path: Path, onnx_sam, embedding, change) -> None:
    path = tmp_path / "nonsense.npz"
    np.savez_compressed(path, **embedding | change)
    with pytest.raises(InputError, match=r"nonsense\.npz"):
        load_embedding(path, onnx_sam, np.zeros((30, 40, 3), np.uint8))


@pytest.mark.weights
def test_a_damaged_file_among_embeddings_is_named(tmp_path: Path, photo, command) -> None:
    small = tmp_path / "small.png"
    Image.open(photo("chelsea.png")).resize((90, 60)).save(small)
    folder = tmp_path / "embeddings"
    assert command("embed", small, "--out", folder, "--workers", "1", "--backend", "onnx").code == 0
    (path,) = folder.glob("*.npz")
    path.write_bytes(path.read_bytes()[:5000])
    arguments = ("predict", small, "--point", "40,30", "--embeddings", folder, "--backend", "onnx", "--out", tmp_path)
    outcome = command(*arguments)
    assert outcome.code == 1
    assert path.name in outcome.err


# Devices and models


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:x", "cuda:", "cuda:-1", "cuda: 1", "mps:3", "CUDA", "", None, 5, b"cpu"]
)
@pytest.mark.parametrize("backend", ["auto", "torch", "onnx"])
def test_unknown_devices_are_refused(backend: str, device: Any) -> None:
    with pytest.raises(InputError, match=r"device must be one of auto, cpu, cuda, mps, got "):
        mobilesam.load(backend=backend, device=device)


@pytest.mark.torch
def test_a_gpu_that_is_not_there_is_refused() -> None:
    import torch

    for device in ("cuda:99", torch.device("cpu")):
        with pytest.raises(InputError, match="device must be "):
            mobilesam.load(backend="torch", device=device)
    with pytest.raises(InputError, match="device must be cpu, cuda or auto for ONNX Runtime, got 'cuda:99'"):
        mobilesam.load(backend="onnx", device="cuda:99")


@pytest.mark.parametrize(
    "model", [5, ["a", "b"], [], ["a", 5], "~nobody-here/x.pt", "a\0b.pt", "x" * 5000 + ".pt", b"a.pt"]
)
def test_models_that_are_none_are_refused(model: Any) -> None:
    with pytest.raises(MobileSamError):
        mobilesam.load(model)


# Several frames


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's
@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG"])
def test_a_damaged_later_frame_is_no_obstacle_to_the_first(kind: str) -> None:
    frames = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (40, 40, 3), np.uint8)) for n in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    content = buffer.getvalue()
    assert photos.count_frames(content) == 3
    opened = 0
    for length in range(len(content) // 3, len(content), 97):
        try:
            photos.read_image(content[:length])
        except InputError:
            continue
        opened += 1
        assert 1 <= photos.count_frames(content[:length]) <= 3
    assert opened


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's
def test_an_image_with_a_damaged_later_frame_is_read() -> None:
    frames = [Image.fromarray(np.full((40, 40), 99 * n, np.uint8)) for n in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    content = buffer.getvalue()
    assert photos.count_frames(content) == 3
    second = int.from_bytes(
        content[4:8], "little"
    )  # the directory of the first frame, which ends with the next one's place
    entries = int.from_bytes(content[second : second + 2], "little")
    place = second + 2 + 12 * entries
    damaged = content[:place] + (len(content) + 5).to_bytes(4, "little") + content[place + 4 :]
    assert photos.read_image(damaged).shape == (40, 40, 3)
    assert photos.count_frames(damaged) == 1
