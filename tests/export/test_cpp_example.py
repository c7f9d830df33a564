"""The C++ example of the documentation is compiled, and gives the masks of Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import mobilesam
from mobilesam.image.read import read_image
from tests.conftest import ROOT
from tests.photos import photo

SOURCE = ROOT / "docs" / "examples" / "segment.cpp"
UNPACKED = ROOT / ".venv" / "onnxruntime"
HEADERS = [path for path in (Path("/usr/include/onnxruntime"), UNPACKED / "usr/include/onnxruntime") if path.is_dir()]
STB = Path("/usr/include/stb")
LIBRARIES = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))

pytestmark = [
    pytest.mark.torch,
    pytest.mark.weights,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("g++") and HEADERS and STB.is_dir() and LIBRARIES),
        reason="needs a C++ compiler and the headers of ONNX Runtime and stb",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, and its files and photos."""
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(LIBRARIES[0])
    includes = ["-I", str(HEADERS[0]), "-isystem", str(STB)]
    libraries = ["-L", str(folder), "-lonnxruntime", f"-Wl,-rpath,{folder}"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = ["g++", "-std=c++17", "-O2", *warnings, str(SOURCE), "-o", str(folder / "segment"), *includes, *libraries]
    subprocess.run(command, check=True)
    for name in ("cat", "coffee"):
        Image.fromarray(photo(name)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path, torch_sam: mobilesam.MaskModel) -> Path:
    from mobilesam.export import Plan, export_onnx
    from mobilesam.loading import require_torch

    # The options of the first line of the example.
    plan = Plan(parts=("encoder", "decoder"), preprocess="uint8")
    export_onnx(require_torch(torch_sam, "the export").sam, folder / "onnx", plan)
    return folder / "onnx"


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([folder / "segment", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_first_line_names_the_options_of_the_export() -> None:
    line = "mobilesam export --out onnx --parts encoder,decoder --preprocess uint8\n"
    assert line in SOURCE.read_text()


@pytest.mark.parametrize(
    ("name", "prompt"),
    [("cat", ("point", 230, 130)), ("coffee", ("box", 75, 10, 482, 395)), ("coffee", ("point", 1, 2))],
)
def test_masks_are_those_of_python(folder: Path, exported: Path, torch_sam, name: str, prompt: tuple) -> None:
    files = exported / "encoder.onnx", exported / "decoder.onnx", folder / f"{name}.png", folder / "mask.png"
    done = run(folder, *files, *prompt)
    assert (done.returncode, done.stderr) == (0, "")
    predictor = mobilesam.SamPredictor(torch_sam)
    predictor.set_image(read_image(folder / f"{name}.png"))
    kind, *numbers = prompt
    requested = {"box": numbers} if kind == "box" else {"point_coords": [numbers], "point_labels": [1]}
    masks, scores, _ = predictor.predict(**requested, multimask_output=kind == "point")
    mask, wanted = np.array(Image.open(folder / "mask.png")) > 0, masks[scores.argmax()]
    assert (mask & wanted).sum() >= 0.99 * (mask | wanted).sum()
    assert float(done.stdout.removeprefix("predicted IoU ")) == pytest.approx(scores.max(), abs=0.01)


def test_bad_input_is_named(folder: Path, exported: Path) -> None:
    encoder, decoder, image = exported / "encoder.onnx", exported / "decoder.onnx", folder / "cat.png"
    cases = [
        ((encoder, decoder, folder / "none.png", "mask.png", "point", 1, 2), 1, "none.png cannot be read"),
        ((encoder, image, image, "mask.png", "point", 1, 2), 1, "Load model from"),
        ((encoder, decoder, image, folder / "no" / "mask.png", "point", 1, 2), 1, "mask.png cannot be written"),
        ((encoder, decoder, image, "mask.png", "box", 1, 2), 1, "the prompt must be: point X Y"),
        ((encoder, decoder, image, "mask.png", "point", 1, "two"), 1, "two is not a number"),
        ((encoder, decoder, image), 2, "usage: segment ENCODER DECODER"),
    ]
    for arguments, code, message in cases:
        done = run(folder, *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr
