"""Objects, crops, samples and image files from clients: the files that are made of them, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from benchmarks.page_client import Client
from mobilesam import formats
from mobilesam.errors import FormatLossWarning, InputError
from mobilesam.evaluate import load_annotations
from mobilesam.evaluate.coco import read_instances
from mobilesam.masks import rle
from tests.robustness.server_client import serving

pytest.importorskip("gradio", reason="Gradio is not installed: run make test")

from mobilesam.masks.run_lengths import boundaries_of_text
from mobilesam.serve.image_files import read_file
from mobilesam.webui.objects import MAX_LABEL, MAX_OBJECTS, read_objects

HW = (300, 451)
EYE, WALL = (172, 107), (430, 40)
POINT = {"points": [[*EYE, 1]], "chosen": 2}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client with the photo of the cat."""
    from mobilesam.webui.sample_photos import read_sample

    with serving("--max-pixels", "300000") as server:
        running = Client(server.url)
        running.hello()
        headers = {"X-Session": running.token, "X-File-Name": "my%20cat.jpg"}
        running.request("POST", "/service/image", content=read_sample("cat.jpg"), headers=headers)
        yield running


@pytest.fixture(scope="module")
def frozen(client: Client) -> dict[str, Any]:
    return client.freeze(*EYE)


def entries(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len({name.lower() for name in names}) == len(names)
        return {name: archive.read(name) for name in names}


# What is saved --------------------------------------------------------------------------------------------------------


@pytest.mark.weights
def test_labels_are_in_every_format_that_has_them(client: Client, frozen: dict[str, Any], tmp_path: Path) -> None:
    wall = client.freeze(*WALL)
    objects = [frozen | {"label": " left  eye ", "prompt": POINT}, wall | {"label": "wall"}, wall]

    def save(kind: str) -> Path:
        response = client.post(f"save/{kind}", objects=objects)
        assert response.status_code == 200, response.text
        path = tmp_path / kind
        path.write_bytes(response.content)
        return path

    labels = ["left eye", "wall", "object"]
    (coco,) = formats.read_coco(save("coco"))
    for records in (
        coco.records,
        formats.read_labelme(save("labelme")).records,
        formats.read_geojson(save("geojson")).records,
        next(formats.read_parquet(save("parquet"))).records,
    ):
        assert [record.get("label", "object") for record in records] == labels
        assert [record["area"] for record in records] == [each["area"] for each in objects]
    assert [line.split(",")[-4] for line in save("csv").read_text().splitlines()[1:]] == ["left eye", "wall", ""]
    yolo = entries(save("yolo").read_bytes())
    assert [line.split()[0] for line in yolo["my cat.txt"].decode().splitlines()][:1] == ["0"]
    assert all(f'{number}: "{label}"' in yolo["data.yaml"].decode() for number, label in enumerate(labels))
    prompts = json.loads(save("prompts").read_text())
    assert prompts["images"] == {"my cat.jpg": [{"steps": [POINT], "label": "left eye"}]}
    for kind in ("overlay", "mask", "cutout", "indexed", "instances"):
        with Image.open(save(kind)) as image:
            assert image.size == HW[::-1]


@pytest.mark.weights
def test_yolo_without_labels_is_its_text_file(client: Client, frozen: dict[str, Any]) -> None:
    response = client.post("save/yolo", objects=[frozen])
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.startswith("0 ")


@pytest.mark.weights
def test_an_archive_of_masks_has_safe_names(client: Client, frozen: dict[str, Any]) -> None:
    labels = [
        "../../etc/passwd",
        "..\\..\\x",
        "CON",
        "a/b",
        "A/B",
        "a:b*?<>|",
        "日本 語",
        "",
        "x" * 100,
        "...",
        "-",
        "a" * 60,
    ]
    response = client.post("save/masks", objects=[frozen | {"label": label} for label in labels])
    assert "filename*=UTF-8''my%20cat.masks.zip" in response.headers["content-disposition"]
    files = entries(response.content)
    assert len(files) == len(labels)
    for name, content in files.items():
        folder, _, file = name.partition("/")
        assert folder == "masks"
        assert not set(file) & set('/\\:*?"<>|')
        assert ".." not in file
        assert file.startswith("my cat-")
        assert np.count_nonzero(np.asarray(Image.open(io.BytesIO(content)))) == frozen["area"]
    names = list(files)
    assert names[0] == "masks/my cat-01-etc-passwd.png"
    assert names[6] == "masks/my cat-07-日本-語.png"
    assert names[7] == "masks/my cat-08-object.png"


@pytest.mark.weights
def test_an_archive_of_all_has_the_usual_formats(client: Client, frozen: dict[str, Any]) -> None:
    usual = {f"my cat.{ending}" for ending in ("coco.json", "json", "txt", "instances.png", "csv", "geojson")}
    usual |= {"data.yaml", "masks/my cat-1-object.png"}
    assert set(entries(client.post("save/all", objects=[frozen]).content)) == usual
    files = entries(client.post("save/all", objects=[frozen | {"prompt": POINT}]).content)
    assert set(files) == usual | {"my cat.prompts.json"}
    run = json.loads(client.post("everything", mode="fast").text.splitlines()[-1])["done"]
    files = entries(client.post("save/all", run=run["run"], selected=[1]).content)
    assert set(files) == usual
    (annotation,) = json.loads(files["my cat.coco.json"])["annotations"]
    assert annotation["area"] == run["segments"][1]["area"]
    assert client.post("save/prompts", run=run["run"]).json()["error"] == (
        "There is no prompt to save. Click the object first."
    )


@pytest.mark.weights
def test_what_the_page_saves_is_ground_truth(client: Client, frozen: dict[str, Any], tmp_path: Path) -> None:
    from mobilesam.webui.sample_photos import read_sample

    (tmp_path / "images").mkdir()
    (tmp_path / "images/my cat.jpg").write_bytes(read_sample("cat.jpg"))
    objects = [client.freeze(*WALL), frozen | {"label": "eye"}]  # in a map the smaller one lies on top
    files = entries(client.post("save/all", objects=objects).content)
    files["my cat.indexed.png"] = client.post("save/indexed", objects=objects).content
    files["my cat.parquet"] = client.post("save/parquet", objects=objects).content
    truth: list[Any] = []
    for ending in ("coco.json", "json", "txt", "geojson", "parquet", "instances.png", "indexed.png"):
        for folder in (tmp_path / ending, tmp_path / "all"):
            folder.mkdir(exist_ok=True)
            (folder / f"my cat.{ending}").write_bytes(files[f"my cat.{ending}"])
        if ending == "txt":
            (tmp_path / ending / "data.yaml").write_bytes(files["data.yaml"])
        for path in (tmp_path / ending, tmp_path / ending / f"my cat.{ending}"):
            dataset = load_annotations(path, tmp_path / "images")
            instances, skipped = read_instances(dataset.images[0], HW, dataset.categories)
            assert not skipped
            truth = truth or [each.mask for each in instances]
            for instance, mask in zip(instances, truth, strict=True):
                iou = (instance.mask & mask).sum() / (instance.mask | mask).sum()
                assert iou > 0.98 if ending == "txt" else iou == 1
            if not ending.endswith("png"):
                assert [each.category for each in instances] == ["object", "eye"]
    assert [mask.sum() for mask in truth] == [each["area"] for each in objects]
    with pytest.warns(FormatLossWarning, match="; COCO is read"):
        assert len(load_annotations(tmp_path / "all", tmp_path / "images").images[0].annotations) == 2


@pytest.mark.weights
def test_shown_and_frozen_masks_agree_when_they_are_cleaned(client: Client) -> None:
    for clean in (False, True):
        predicted = client.post("predict", prompt={"points": [[*WALL, 1]]}, clean=clean).json()
        for mask in predicted["masks"]:
            prompt = {"points": [[*WALL, 1]], "chosen": mask["index"]}
            (kept,) = client.post("freeze", prompt=prompt, clean=clean).json()["objects"]
            assert kept["rle"] == mask["rle"]
    for clean in (False, True):
        run = json.loads(client.post("everything", mode="fast", clean=clean).text.splitlines()[-1])["done"]
        indices = list(range(len(run["segments"])))
        kept = client.post("freeze", run=run["run"], segments=indices).json()["objects"]
        assert [each["rle"] for each in kept] == [each["rle"] for each in run["segments"]]


# What is refused ------------------------------------------------------------------------------------------------------

MASK = rle.to_coco(rle.rectangle(10, 20, 30, 40, HW[0]), HW)
WHOLE = {"segmentation": MASK}


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (None, f"objects must be a list of at most {MAX_OBJECTS}, got NoneType"),
        ([WHOLE] * (MAX_OBJECTS + 1), f"objects must be a list of at most {MAX_OBJECTS}, got {MAX_OBJECTS + 1}"),
        ([], "There is no mask to save. Click the object first."),
        ([WHOLE, 5], "objects[1] must be an object, got int"),
        ([{}], "objects[0].segmentation must be COCO's compressed run lengths, got None"),
        ([{"segmentation": {"size": list(HW), "counts": [1, 2]}}], "must be COCO's compressed run lengths, got {"),
        ([{"segmentation": [[1, 2, 3, 4, 5, 6]]}], "must be COCO's compressed run lengths, got ["),
        (
            [{"segmentation": MASK | {"size": [451, 300]}}],
            "objects[0].segmentation.size must be [300, 451] as the image",
        ),
        ([{"segmentation": MASK | {"size": None}}], "size must be [300, 451] as the image, got None"),
        ([{"segmentation": MASK | {"counts": ""}}], "the RLE counts do not add up to the size of the image"),
        ([WHOLE | {"label": 5}], "objects[0].label must be text, got int"),
        ([WHOLE | {"label": ["x"]}], "objects[0].label must be text, got list"),
        ([WHOLE | {"label": "x" * 101}], "objects[0].label must have at most 100 characters, got 101"),
        ([WHOLE | {"predicted_iou": "high"}], "objects[0] must be a mask of this image, got the score 'high'"),
        ([WHOLE | {"predicted_iou": True}], "which is not a number"),
        ([WHOLE | {"stability_score": float("inf")}], "which is not a number"),
        ([WHOLE | {"confidence": 10**400}], "which is not a number"),
        ([WHOLE | {"point_coords": [[1]]}], "which are not a list of pairs of numbers"),
        ([WHOLE | {"point_coords": {"x": 1}}], "which are not a list of pairs of numbers"),
        ([WHOLE | {"point_coords": [[float("inf"), 1]]}], "which are not a list of pairs of numbers"),
        ([WHOLE | {"prompt": "x"}], "prompt must be an object, got str"),
        ([WHOLE | {"prompt": {"points": [[999, 1, 1]]}}], "a point must lie in the image"),
        ([WHOLE | {"prompt": {}}], "objects[0].prompt must have a foreground point or a box, got neither"),
    ],
)
def test_objects_of_another_form_are_refused(objects: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_objects(objects, HW)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_labels_are_trimmed_and_have_no_control_characters() -> None:
    def label(text: str) -> str:
        (read,) = read_objects([WHOLE | {"label": text, "prompt": {"points": [[1, 1, 1]]}}], HW)
        assert read.prompt is not None
        assert read.prompt.label == read.record.get("label")
        return str(read.record.get("label"))

    assert label("  red\tcar \r\n") == "red car"
    assert label("a\x00b\u202ec\x7fd\ud800e") == "a b c d e"
    assert label("x" * MAX_LABEL + "   ") == "x" * MAX_LABEL
    assert label(" \n ") == "None"


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_lengths_are_read_as_pycocotools_writes_them(mask: np.ndarray) -> None:
    hw = (mask.shape[0], mask.shape[1])
    boundaries = rle.boundaries_of(mask)
    assert np.array_equal(boundaries_of_text(rle.to_coco(boundaries, hw)["counts"], hw), boundaries)


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=60) | st.text(max_size=20))
def test_any_text_is_run_lengths_of_the_image_or_refused(text: str) -> None:
    try:
        boundaries = boundaries_of_text(text, HW)
    except InputError:
        return
    assert (np.diff(boundaries) > 0).all()
    assert len(boundaries) % 2 == 0
    assert not len(boundaries) or (boundaries[0] >= 0 and boundaries[-1] <= HW[0] * HW[1])


def test_empty_runs_are_joined_and_long_numbers_refused() -> None:
    from pycocotools import mask as coco_mask

    counts = [5, 3, 0, 4, 88]
    text = coco_mask.frPyObjects({"size": [10, 10], "counts": counts}, 10, 10)["counts"].decode()
    assert boundaries_of_text(text, (10, 10)).tolist() == [5, 12]
    for hostile in ("o" * 8 + "0", "o" * 1000 + "0", "o", "P", "0P0", "é", "\x00"):
        with pytest.raises(InputError):
            boundaries_of_text(hostile, (10, 10))


@pytest.mark.weights
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "x must be a whole number of pixels, got ''; write it as in x=120"),
        ("x=0&y=0&width=10&height=10", "side must be a whole number of pixels, got ''"),
        ("x=-1&y=0&width=10&height=10&side=9", "x must be a whole number of pixels, got '-1'"),
        ("x=1.5&y=0&width=10&height=10&side=9", "x must be a whole number of pixels, got '1.5'"),
        ("x=1e3&y=0&width=10&height=10&side=9", "x must be a whole number of pixels, got '1e3'"),
        (f"x={'9' * 5000}&y=0&width=10&height=10&side=9", "x must be a whole number of pixels, got "),
        ("x=٣&y=0&width=10&height=10&side=9", "x must be a whole number of pixels, got '٣'"),
        ("x=445&y=0&width=10&height=10&side=9", "the area must lie in the image, 451 x 300, got x 445, y 0"),
        ("x=0&y=300&width=10&height=1&side=9", "the area must lie in the image"),
        ("x=0&y=0&width=0&height=10&side=9", "the area must lie in the image"),
        ("x=0&y=0&width=10&height=10&side=0", "side must be from 1 to 2048, got 0"),
        ("x=0&y=0&width=10&height=10&side=2049", "side must be from 1 to 2048, got 2049"),
    ],
)
def test_crops_of_another_form_are_refused(query: str, message: str, client: Client) -> None:
    response = client.request("GET", f"/service/crop?{query}", headers={"X-Session": client.token})
    assert (response.status_code, message in response.json()["error"]) == (400, True), response.text
    assert len(response.text) < 500


@pytest.mark.weights
def test_a_crop_is_a_jpeg_of_the_image(client: Client) -> None:
    response = client.request(
        "GET", "/service/crop?x=51&y=100&width=400&height=200&side=100", headers={"X-Session": client.token}
    )
    assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(response.content)).size == (100, 50)


@pytest.mark.weights
def test_only_the_sample_photos_are_served(client: Client) -> None:
    listed = client.call("hello")["samples"]
    assert listed == ["cat.jpg", "coffee.jpg", "rocket.jpg", "astronaut.jpg"]
    for each in listed:
        response = client.request("GET", f"/service/samples/{each}")
        assert (response.status_code, response.content[:2]) == (200, b"\xff\xd8")
    for name in (
        "prompts.json",
        "__init__.py",
        "CAT.JPG",
        "cat.jpg%00",
        "..",
        "%2e%2e",
        "..%2f__init__.py",
        "%2fetc%2fpasswd",
    ):
        assert client.request("GET", f"/service/samples/{name}").status_code in (400, 404)


@pytest.mark.weights
def test_a_file_that_is_no_image_is_named_in_the_message(client: Client, frozen: dict[str, Any]) -> None:
    def offered(content: bytes, name: str) -> str:
        headers = {"X-Session": client.token, "X-File-Name": name}
        response = client.request("POST", "/service/image", content=content, headers=headers)
        return str(json.loads(response.text.splitlines()[-1])["error"])

    kinds = "Open a JPEG, PNG, WebP, TIFF or BMP file."
    assert offered(b"hello", "notpic.txt") == f"notpic.txt is not an image. {kinds}"
    assert offered(b"<svg/>", "..%2F..%2Fa%3Cb%3E.svg") == f"ab.svg is not an image. {kinds}"
    assert offered(b"\x89PNG\r\n\x1a\n", "") == f"image is not an image. {kinds}"
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)).save(buffer, "JPEG")
    assert offered(buffer.getvalue()[:5000], "half.jpg").startswith("half.jpg is damaged or incomplete. ")
    buffer = io.BytesIO()
    Image.new("L", (1000, 500)).save(buffer, "PNG")
    assert offered(buffer.getvalue(), "big.png") == (
        "big.png has 1000 x 500 = 0.5 million pixels. This server accepts at most 0.3 million. Open a smaller copy."
    )
    assert client.freeze(*EYE) == frozen, "the image before is still open"


def test_an_image_file_is_read_with_a_note_on_its_frames(photo: Callable[[str], Path]) -> None:
    pixels, note = read_file(photo("chelsea.png").read_bytes(), "cat.png", 10**6)
    assert (pixels.shape, pixels.dtype, note) == ((*HW, 3), np.uint8, "")
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (20, 10), color) for color in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    pixels, note = read_file(buffer.getvalue(), "two.gif", 10**6)
    assert (pixels.shape, note) == ((10, 20, 3), "The first of 2 frames is shown.")
    with pytest.raises(InputError, match=r"^none\.png is empty\. Open another file\.$"):
        read_file(b"", "none.png", 10**6)
