"""Batches from and to object storage, with a real S3 protocol on this machine, and from archives."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilesam.batch import ModelChoice, embed_images
from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.formats import read_coco
from mobilesam.model import Wrapped
from mobilesam.prompts.file import PromptFile
from mobilesam.prompts.object_prompt import ObjectPrompt
from tests.automatic.color_model import ColorModel
from tests.batch.object_storage import make_bucket, objects, put, server
from tests.robustness.batch_runs import BOX, ColorChoice, contents, paint, segment, start

COUNT = 70  # more than two parts
FEW = ("coco", "overlay")  # files


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    """The environment of a server with an empty bucket, in this process too."""
    with server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        make_bucket("bucket")
        yield environment


@pytest.fixture
def folder(storage: dict[str, str], request: pytest.FixtureRequest) -> str:
    """A URL of this test's own."""
    return f"s3://bucket/{request.node.name}"


def photos(folder: Path, count: int = COUNT) -> Path:
    """Paint images into a folder and a subfolder, and one that is none."""
    for number in range(count):
        paint(folder / f"{'sub/' if number % 3 else ''}{number:03}.png", shift=number % 20)
    (folder / "bad.jpg").write_bytes(b"no image")
    return folder


def upload(folder: Path, url: str) -> None:
    for path in folder.rglob("*.*"):
        put(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def results(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files without the journal."""
    return {name: content for name, content in files.items() if not name.startswith("batch.")}


def test_a_run_on_object_storage_equals_a_local_one(folder: str, tmp_path: Path) -> None:
    local = photos(tmp_path / "photos")
    upload(local, f"{folder}/photos")
    report = segment([f"{folder}/photos/"], f"{folder}/out")
    expected = segment([local], tmp_path / "out")
    assert (report.done, expected.done) == (COUNT, COUNT)
    assert report.files == [f"{folder}/out/coco.json"]
    (bad,) = report.bad
    assert bad.source == f"{folder}/photos/bad.jpg"
    before = objects(f"{folder}/out")
    assert results(before) == results(contents(tmp_path / "out"))
    assert len([name for name in before if name.startswith("batch.journal/done/")]) == 3
    again = segment([f"{folder}/photos"], f"{folder}/out", resume=True)
    assert again == report
    assert objects(f"{folder}/out") == before
    with pytest.raises(InputError, match=r"output file must not exist yet, got s3://.*about\.json; continue"):
        segment([f"{folder}/photos"], f"{folder}/out")
    with pytest.raises(InputError, match="cannot be resumed: formats was"):
        segment([f"{folder}/photos"], f"{folder}/out", resume=True, formats=("coco",))
    put(f"{folder}/other/notes.txt", b"mine")
    with pytest.raises(InputError, match="--out must be empty or have the journal of a run"):
        segment([f"{folder}/photos"], f"{folder}/other")


def test_local_images_to_object_storage_and_back(folder: str, tmp_path: Path) -> None:
    local = photos(tmp_path / "photos", 5)
    upload(local, f"{folder}/photos")
    segment([local], f"{folder}/out")
    segment([f"{folder}/photos"], tmp_path / "out")
    segment([local], tmp_path / "expected")
    expected = results(contents(tmp_path / "expected"))
    assert results(objects(f"{folder}/out")) == results(contents(tmp_path / "out")) == expected


def test_resume_segments_what_changed_and_what_is_bad(folder: str, tmp_path: Path) -> None:
    local = photos(tmp_path / "photos")
    upload(local, f"{folder}/photos")
    segment([f"{folder}/photos"], f"{folder}/out", formats=FEW)
    paint(local / "sub/001.png", shift=17)
    paint(local / "bad.jpg")
    for name in ("sub/001.png", "bad.jpg"):
        put(f"{folder}/photos/{name}", (local / name).read_bytes())
    encoded = []

    class Counted(ColorModel):
        def encode(self, image, **options):
            encoded.append(image)
            return super().encode(image, **options)

    class CountedChoice(ColorChoice):
        def load(self):
            return Counted()

    report = segment([f"{folder}/photos"], f"{folder}/out", resume=True, model=CountedChoice(), formats=FEW)
    assert (report.done, report.bad) == (COUNT + 1, [])
    assert len(encoded) == 2
    segment([f"{folder}/photos"], f"{folder}/fresh", formats=FEW)
    assert objects(f"{folder}/out") == objects(f"{folder}/fresh")


def test_force_removes_what_an_earlier_run_wrote_more(folder: str, tmp_path: Path) -> None:
    local = photos(tmp_path / "photos", 2)
    upload(local, f"{folder}/photos")
    segment([f"{folder}/photos"], f"{folder}/out")
    one = PromptFile(objects=(ObjectPrompt(box=BOX),))
    segment([f"{folder}/photos"], f"{folder}/out", prompts=one, force=True)
    segment([f"{folder}/photos"], f"{folder}/fresh", prompts=one)
    assert objects(f"{folder}/out") == objects(f"{folder}/fresh")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
def test_a_run_that_was_killed_ends_with_the_same_bytes(folder: str, tmp_path: Path, workers: int) -> None:
    local = photos(tmp_path / "photos")
    upload(local, f"{folder}/photos")
    segment([f"{folder}/photos"], f"{folder}/expected")
    arguments = ("batch_runs", f"{folder}/photos", f"{folder}/out", workers)
    moments, kills = random.Random(workers), 0
    for _ in range(10):
        process = start(*arguments, cwd=tmp_path)
        images = moments.randrange(1, 40)
        for _ in zip(range(images), process.stdout, strict=False):
            pass
        time.sleep(moments.random() / 10)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(*arguments, cwd=tmp_path)
    assert process.communicate()[1] == ""
    assert kills > 2
    assert objects(f"{folder}/out") == objects(f"{folder}/expected")


def tar_of(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, each in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(each)
            tar.addfile(member, io.BytesIO(each))
    return content.getvalue()


def parquet_of(columns: dict[str, list], **types) -> bytes:
    import pyarrow
    from pyarrow import parquet

    content = io.BytesIO()
    arrays = {name: pyarrow.array(values, types.get(name)) for name, values in columns.items()}
    parquet.write_table(pyarrow.table(arrays), content, row_group_size=20)
    return content.getvalue()


def names(report_folder: str | Path) -> list[str]:
    """Return the names of the images in ``coco.json``."""
    if isinstance(report_folder, Path):
        return [image.file_name for image in read_coco(report_folder / "coco.json")]
    import json

    return [image["file_name"] for image in json.loads(objects(report_folder)["coco.json"])["images"]]


def test_tars_of_web_datasets(folder: str, tmp_path: Path) -> None:
    """Two shards and a shard that is cut: the images before the cut are there, and those of the other shards."""
    local = photos(tmp_path / "photos", 40)
    painted = [path.read_bytes() for path in sorted(local.rglob("*.png"))]
    shards = [
        tar_of({f"{number:06}.{kind}": painted[number] for number in range(40) for kind in ("png", "txt")}),
        tar_of({"./a/1.png": painted[0], "a/1.jpg": painted[1], "a/1.png": painted[2], "../../2.png": painted[3]}),
        tar_of({f"{number}.png": painted[number] for number in range(5)}),
    ]
    third = shards[1][: shards[1].index(painted[2]) + 50]
    for number, shard in enumerate([*shards, third]):
        put(f"{folder}/shards/{number:02}.tar", shard)
        (tmp_path / f"{number:02}.tar").write_bytes(shard)
    report = segment([f"{folder}/shards/*.tar"], f"{folder}/out", workers=2, formats=FEW)
    assert report.done == 40 + 4 + 5 + 2
    ((source, reason),) = report.bad
    assert source == f"{folder}/shards/03.tar"
    assert reason == (
        f"{folder}/shards/03.tar is cut at 'a/1.png': its end is missing. The images before are used; get the file "
        "again."
    )
    expected = [f"00/{number:06}.png" for number in range(40)] + ["01/a/1.png", "01/a/1.jpg", "01/a/1.png", "01/2.png"]
    assert names(f"{folder}/out") == [*expected, *(f"02/{n}.png" for n in range(5)), "03/a/1.png", "03/a/1.jpg"]
    files = objects(f"{folder}/out")
    overlays = {name for name in files if name.startswith("01/") and name.endswith("-overlay.png")}
    assert overlays == {f"01/{stem}-overlay.png" for stem in ("a/1", "a/1.jpg", "a/1.png", "2")}
    segment([tmp_path / "*.tar"], tmp_path / "out", formats=FEW)
    assert results(contents(tmp_path / "out")) == results(files)
    put(f"{folder}/shards/03.tar", shards[1])
    report = segment([f"{folder}/shards/*.tar"], f"{folder}/out", resume=True, formats=FEW)
    assert (report.done, report.bad) == (40 + 4 + 5 + 4, [])


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_parquet_files_with_a_column_of_images(folder: str, tmp_path: Path, kind: str) -> None:
    local = photos(tmp_path / "photos", 45)
    painted = [path.read_bytes() for path in sorted(local.rglob("*.png"))]
    rows = [{"bytes": each, "path": f"dir/{number:03}.png"} for number, each in enumerate(painted)]
    rows[7] = {"bytes": painted[7], "path": None}
    rows[9] = {"bytes": None, "path": "somewhere.png"}
    rows[11] = {"bytes": b"no image", "path": "bad.png"}
    values = rows if kind == "struct" else [row["bytes"] for row in rows]
    content = parquet_of({"label": list(range(45)), "image" if kind == "struct" else "photo": values})
    put(f"{folder}/photos.parquet", content)
    report = segment([f"{folder}/photos.parquet"], f"{folder}/out", formats=("coco",))
    assert report.done == 43
    assert "row 9 of" in report.bad[0].reason
    assert report.bad[1].source.endswith(
        "/dir/bad.png" if kind == "x" else "bad.png" if kind == "struct" else "00000011"
    )
    expected = [f"photos/{number:08}" for number in range(45) if number not in (9, 11)]
    if kind == "struct":
        expected = [f"photos/dir/{number:03}.png" for number in range(45) if number not in (9, 11)]
        expected[7] = "photos/00000007"
    assert names(f"{folder}/out") == expected
    (tmp_path / "photos.parquet").write_bytes(content)
    segment([tmp_path / "photos.parquet"], tmp_path / "out", workers=2, formats=("coco",))
    assert results(contents(tmp_path / "out")) == results(objects(f"{folder}/out"))


def test_lists_with_urls_and_archives(folder: str, tmp_path: Path) -> None:
    local = photos(tmp_path / "photos", 3)
    upload(local, f"{folder}/photos")
    put(f"{folder}/list.txt", b"photos/000.png\n# none\n" + f"{folder}/photos/sub/001.png".encode())
    report = segment([f"{folder}/list.txt"], f"{folder}/out")
    assert (report.done, names(f"{folder}/out")) == (2, ["photos/000.png", "photos/sub/001.png"])
    (tmp_path / "a.tar").write_bytes(tar_of({"x.png": (local / "000.png").read_bytes()}))
    (tmp_path / "list.txt").write_text(f"{folder}/photos/000.png\na.tar\nphotos/sub/001.png\nphotos/none.png\n")
    report = segment([tmp_path / "list.txt"], tmp_path / "out")
    assert report.done == 3
    assert [each.source for each in report.bad] == [str(tmp_path / "photos/none.png")]


def test_prompts_of_named_images(folder: str, tmp_path: Path) -> None:
    local = photos(tmp_path / "photos", 40)
    upload(local, f"{folder}/photos")
    named = PromptFile({"sub/001.png": (ObjectPrompt(box=BOX),), "039.png": (), "none.png": (ObjectPrompt(box=BOX),)})
    report = segment([f"{folder}/photos"], f"{folder}/out", prompts=named)
    assert (report.done, len(report.left_out)) == (2, 39)
    assert "names an image that is not among the images given: 'none.png'" in report.problems[0].replace(
        "name ", "names "
    )
    with pytest.raises(InputError, match="The prompts name none of the 41 images, such as 's3://"):
        segment([f"{folder}/photos"], f"{folder}/none", prompts=PromptFile({"x.png": (ObjectPrompt(box=BOX),)}))


BAD = {
    "s3://none/photos": r"s3://none/photos cannot be listed \(The specified bucket does not exist\)\. Check the name\.",
    "s3://Bad_!/photos": r"s3://Bad_!/photos cannot be listed \(.*Invalid bucket name",
    "s3://": "URL must have a bucket, got 's3://'; write for example s3://bucket/photos",
    "foo://bucket/photos": "URL must begin with the name of a known storage, got 'foo://bucket/photos'; use",
    "s3://bucket/nothing": "INPUT must contain an image, got none in s3://bucket/nothing; check the path",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_place_is_named(storage: dict[str, str], tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=BAD[name]):
        segment([name], tmp_path / "out")
    if name != "s3://bucket/nothing":
        paint(tmp_path / "photos/a.png")
        with pytest.raises(InputError, match=BAD[name].split(" cannot")[0].partition("//bucket")[0]):
            segment([tmp_path / "photos"], name)


@contextlib.contextmanager
def no_rights(address: str) -> Iterator[None]:
    """Let a server refuse all requests; the setting is that of all servers in this process."""

    def allow(requests: bytes) -> None:
        request = urllib.request.Request(f"{address}/moto-api/reset-auth", requests, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).close()

    allow(b"0")
    try:
        yield
    finally:
        allow(b"inf")


def test_a_bucket_without_rights_is_named(storage: dict[str, str], folder: str, tmp_path: Path) -> None:
    paint(tmp_path / "photos/a.png")
    put(f"{folder}/photos/a.png", (tmp_path / "photos/a.png").read_bytes())
    remedy = r"\. Check the rights of your account, or choose another place\.$"
    with no_rights(storage["AWS_ENDPOINT_URL"]):
        with pytest.raises(InputError, match=r"^s3://.*/photos cannot be listed \(.*\)" + remedy):
            segment([f"{folder}/photos"], tmp_path / "out")
        assert not (tmp_path / "out").exists()
        with pytest.raises(InputError, match=r"^s3://.*/about\.json cannot be read \(.*\)" + remedy):
            segment([tmp_path / "photos"], f"{folder}/out")
        report = segment([tmp_path / "photos/a.png", f"{folder}/photos/a.png"], tmp_path / "out")
    ((source, reason),) = report.bad
    assert (report.done, source) == (1, f"{folder}/photos/a.png")
    assert reason.startswith(f"{source} cannot be read (")


def test_results_beside_the_images_are_not_images(folder: str, tmp_path: Path) -> None:
    upload(photos(tmp_path / "photos", 2), folder)
    assert segment([folder], f"{folder}/out").done == 2
    assert segment([folder], f"{folder}/out", resume=True).done == 2
    with pytest.raises(InputError, match=r"--out must not be a folder of images, got s3://.*; choose another folder"):
        segment([folder], folder)
    with pytest.raises(InputError, match=r"INPUT must not be in another one, got s3://.*/sub in s3://"):
        segment([f"{folder}/sub", folder], f"{folder}/out2")


class NoEncoder(Wrapped):
    def encode(self, image, **options):
        raise AssertionError("this image has an embedding")


class NoEncoderChoice(ModelChoice):
    def load(self):
        return NoEncoder(super().load())


@pytest.mark.weights
def test_embeddings_on_object_storage(folder: str, tmp_path: Path, command: Any) -> None:
    local = photos(tmp_path / "photos", 2)
    upload(local, f"{folder}/photos")
    (tmp_path / "a.tar").write_bytes(tar_of({"x.png": (local / "000.png").read_bytes()}))
    choice = {"backend": "onnx", "device": "cpu", "threads": 1}
    inputs = [f"{folder}/photos", str(tmp_path / "a.tar")]
    made = dict(embed_images(inputs, f"{folder}/embeddings", model=ModelChoice(**choice)))
    assert made.pop(f"{folder}/photos/bad.jpg").source == f"{folder}/photos/bad.jpg"
    names = objects(f"{folder}/embeddings")
    assert set(made.values()) == {f"{folder}/embeddings/{name}" for name in names if name.endswith(".npz")}
    assert sum(name.endswith(".image.json") for name in names) == 2, "the file in the tar is one of the others"
    assert (len(made), len(set(made.values()))) == (3, 2), "the image in the tar is one of the others"
    (local / "bad.jpg").unlink()
    with_embeddings = {"model": NoEncoderChoice(**choice), "embeddings": f"{folder}/embeddings"}
    segment([local], tmp_path / "with", **with_embeddings)
    segment([local], f"{folder}/with", **with_embeddings)
    segment([local], tmp_path / "without", model=ModelChoice(**choice))
    expected = results(contents(tmp_path / "without"))
    assert results(contents(tmp_path / "with")) == results(objects(f"{folder}/with")) == expected
    prompt = ("--point", "20,20", "--out", tmp_path / "predicted")
    outcome = command("predict", local / "000.png", *prompt, "--embeddings", f"{folder}/embeddings")
    assert outcome.code == 0, outcome.err
    outcome = command("predict", local / "000.png", *prompt, "--embeddings", "s3://bucket/none", "--force")
    assert outcome.code == 1
    assert "the folder of embeddings must exist, got s3://bucket/none; create it with mobilesam embed" in outcome.err


def test_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        MissingDependencyError, match="gs:// needs gcsfs, which is not installed; run: pip install fsspec gcsfs"
    ):
        segment(["gs://bucket/photos"], tmp_path / "out")
    with pytest.raises(
        MissingDependencyError, match="az:// needs adlfs, which is not installed; run: pip install fsspec adlfs"
    ):
        segment(["az://bucket/photos"], tmp_path / "out")
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(
        MissingDependencyError, match=r's3:// needs s3fs, which is not installed; run: pip install "fsspec'
    ):
        segment(["s3://bucket/photos"], tmp_path / "out")
