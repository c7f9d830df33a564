"""The images of inputs, and the names of their output files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilesam.batch.sources import find_images, name_files, read_prompts_or_coco
from mobilesam.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.PNG", "sub/a.png", "sub/deep/a.tif", ".hidden/x.png", ".x.png", "notes.md", "out/o.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def paths_of(*inputs, out="photos/out"):
    return [source.path for source in find_images(inputs, Path(out))]


def test_a_folder_is_walked_but_for_the_results_in_it(folder):
    expected = ["photos/a.PNG", "photos/b.jpg", "photos/sub/a.png", "photos/sub/deep/a.tif"]
    assert paths_of("photos") == expected
    assert paths_of("photos", out="elsewhere") == [*expected[:2], "photos/out/o.png", *expected[2:]]


def test_files_of_a_folder_keep_their_places(folder):
    (folder / "photos/sub/a.jpg").touch()
    sources = find_images(["photos", "photos/../photos/b.jpg"], Path("photos/out"))
    names = [(str(names.folder), names.stem) for names in name_files(sources, Path("out"))]
    assert names == [("out", "a"), ("out", "b"), ("out/sub", "a"), ("out/sub", "a-2"), ("out/sub/deep", "a")]


def test_globs_lists_and_files(folder):
    (folder / "photos/list.txt").write_text("# mine\nb.jpg\n\nsub/a.png\nabsent.png\n")
    assert paths_of("photos/*.jpg", "photos/notes.md") == ["photos/b.jpg", "photos/notes.md"]
    assert paths_of("photos/**/a.*") == ["photos/a.PNG", "photos/sub/a.png", "photos/sub/deep/a.tif"]
    assert paths_of("photos/list.txt") == ["photos/b.jpg", "photos/sub/a.png", "photos/absent.png"]
    assert paths_of("photos/b.jpg", "./photos/b.jpg") == ["photos/b.jpg"]


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["photo"], "o", "INPUT must be an image, a folder, a glob or a list, got 'photo', which does not exist"),
        (["*.gif"], "o", r"got '\*.gif', a pattern without matches"),
        (["photos/.hidden/../empty"], "o", "INPUT must contain an image, got none in"),
        (["photos"], "photos", "--out must not be a folder of images, got photos; choose another folder"),
    ],
)
def test_inputs_that_name_nothing(folder, inputs, out, message):
    (folder / "photos/empty").mkdir()
    with pytest.raises(InputError, match=message):
        paths_of(*inputs, out=out)


def test_prompts_come_from_either_kind_of_file(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text('{"version": 1, "objects": [{"box": [1, 2, 3, 4], "label": "cat"}]}')
    assert read_prompts_or_coco(path).for_image("x.png")[0].label == "cat"
    annotation = {"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 9}
    coco = {"images": [{"id": 1, "file_name": "a/x.png"}], "annotations": [annotation], "categories": []}
    path.write_text(json.dumps(coco))
    assert read_prompts_or_coco(path).for_image("photos/a/x.png")[0].box == (1, 2, 4, 6)
    path.write_text("[")
    with pytest.raises(InputError, match="must be JSON"):
        read_prompts_or_coco(path)
