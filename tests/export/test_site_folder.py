"""The folder of ``mobilesam site``, and the command."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from mobilesam import weights
from mobilesam.errors import InputError, WeightsError
from mobilesam.export import site, site_runtime
from mobilesam.export.site import write_site
from mobilesam.export.site_source import source_of
from mobilesam.onnx import metadata

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """The graphs of the published weights."""
    with source_of(None) as folder:
        yield folder


@pytest.fixture
def runtime(tmp_path: Path) -> list[Path]:
    """Stand-ins for the files from npm, which this module does not run."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in (site_runtime.MODULE, site_runtime.LOADER, site_runtime.WASM):
        (folder / name).write_text(name)
    return sorted(folder.iterdir())


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.weights
@pytest.mark.parametrize(("precision", "most"), [("weights", 27e6), ("float32", 56e6)])
def test_the_manifest_lists_every_file(
    source: Path, runtime: list[Path], tmp_path: Path, precision: str, most: float
) -> None:
    written = write_site(source, tmp_path / "site", runtime, precision=precision)
    folder = written.path
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {entry["file"] for entry in manifest["files"]} == names_in(folder) - {"manifest.json"} == set(written.files)
    for entry in manifest["files"]:
        content = (folder / entry["file"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert sum(written.files.values()) + 14.4e6 < most, "with ONNX Runtime"
    assert set(manifest["graphs"]) == {"encoder", "image", "score", "upscale", "expectation"}
    assert {*manifest["graphs"].values(), manifest["learned"]} <= names_in(folder)
    assert {value for key, value in manifest["runtime"].items() if key != "package"} <= names_in(folder)
    encoder = metadata.of(onnx.load(folder / manifest["graphs"]["encoder"]))
    assert manifest["model"] == {
        "name": "vit_t",
        "weights_sha256": encoder["weights_sha256"],
        "precision": "float32" if precision == "float32" else "int8 weights",
    }
    assert names_in(folder) >= {"index.html", "mobilesam.js", "package.json", "model/worker.js"}
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.weights
def test_quantized_files_stay_as_they_are(source: Path, runtime: list[Path], tmp_path: Path) -> None:
    first = write_site(source, tmp_path / "first", runtime)
    second = write_site(first.path / "weights", tmp_path / "second", runtime)
    assert second.files == first.files


@pytest.mark.weights
def test_other_weights_have_no_learned_parts(source: Path, runtime: list[Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(source, tmp_path / "other"))
    for path in other.glob("*.onnx"):
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {**_properties(model), "mobilesam.weights_sha256": "0" * 64})
        onnx.save(model, path)
    written = write_site(other, tmp_path / "site", runtime, precision="float32")
    manifest = json.loads((written.path / "manifest.json").read_text())
    assert "learned" not in manifest
    assert "expectation" not in manifest["graphs"]
    assert not (written.path / "weights" / "learned.json").exists()


def _properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


@pytest.mark.weights
def test_a_folder_is_replaced_only_on_request(source: Path, runtime: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    write_site(source, out, runtime)  # an empty folder is no obstacle
    before = names_in(out)
    with pytest.raises(InputError, match=r"^out must not exist yet, got .*site; choose another --out, or replace it"):
        write_site(source, out, runtime)
    (out / "model" / "worker.js").unlink()
    write_site(source, out, runtime, force=True)
    assert names_in(out) == before
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"^out must be a folder that mobilesam site wrote, got .*site with notes.txt"):
        write_site(source, out, runtime, force=True)
    assert names_in(out) == {*before, "notes.txt"}


@pytest.mark.parametrize("content", ["", "[]", '{"files": []}', '{"files": [3], "runtime": {}}'])
def test_a_folder_of_others_is_never_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"with manifest.json; choose another --out"):
        site.refuse_out(tmp_path, force=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "site"
    path.write_text("mine")
    for out, requirement in ((path, "out must be a folder"), (path / "below", "out must be in a folder")):
        with pytest.raises(InputError, match=f"^{requirement}"):
            site.refuse_out(out, force=True)


@pytest.mark.weights
def test_a_failure_leaves_the_earlier_folder(
    source: Path, runtime: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    write_site(source, out, runtime)
    before = names_in(out)
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "manifest.json":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"^out must be a folder that can be written, got .*No space left on device"):
        write_site(source, out, runtime, force=True)
    with pytest.raises(InputError, match="No space left"):
        write_site(source, tmp_path / "new", runtime)
    assert names_in(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runtime", "site"]


@pytest.mark.weights
def test_models_that_a_browser_cannot_run(source: Path, runtime: list[Path], tmp_path: Path) -> None:
    part = Path(shutil.copytree(source, tmp_path / "part"))
    (part / "upscale.onnx").unlink()
    with pytest.raises(InputError, match=r"^ONNX model must have an encoder and a decoder"):
        write_site(part, tmp_path / "site", runtime)
    renamed = Path(shutil.copytree(source, tmp_path / "renamed"))
    model = onnx.load(renamed / "encoder.onnx")
    model.graph.input[0].name = "x"
    onnx.save(model, renamed / "encoder.onnx")
    with pytest.raises(InputError, match=r"^encoder must be one of mobilesam export's default options"):
        write_site(renamed, tmp_path / "site", runtime)
    assert not (tmp_path / "site").exists()


def test_the_command_needs_one_of_two_options(command: Command) -> None:
    assert command("site", "--json") == (
        2,
        "",
        "error: --out or --runtime-only must be given, got neither; for example: --out web\n",
    )
    assert command("site", "--out", "web", "--runtime-only").code == 2


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_without_npm_the_command_says_what_to_do(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    code, out, err = command("site", "--runtime-only")
    assert (code, out) == (1, "")
    assert err == (
        f"error: ONNX Runtime for browsers, the npm package {site_runtime.PACKAGE}, could not be fetched: the npm "
        "client is not installed. Install npm and connect to its registry, or copy ort.wasm.min.mjs, "
        "ort-wasm-simd-threaded.mjs, ort-wasm-simd-threaded.wasm from the package's folder dist to "
        f"{home / 'onnxruntime-web-1.30.0'}.\n"
    )


@pytest.mark.skipif(shutil.which("npm") is None, reason="the npm client is not installed")
def test_the_runtime_is_fetched_once_and_verified(
    command: Command, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "stand-in", "version": "1.0.0"}')
    contents = {name: name.encode() for name in (site_runtime.MODULE, site_runtime.LOADER, site_runtime.WASM)}
    for name, content in contents.items():
        (package / "dist" / name).write_bytes(content)
    listed = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()}
    folder = site_runtime.folder()
    monkeypatch.setattr(site_runtime, "folder", lambda: folder)
    monkeypatch.setattr(site_runtime, "PACKAGE", str(package))
    monkeypatch.setattr(site_runtime, "_FILES", listed)
    assert site_runtime.find() is None
    code, out, _ = command("site", "--runtime-only", "--json")
    assert code == 0
    assert json.loads(out) == {"folder": str(folder), "files": {name: size for name, (size, _) in listed.items()}}
    (folder / site_runtime.WASM).write_bytes(b"damaged")
    assert site_runtime.find() is None
    site_runtime.fetch()
    assert {path.read_bytes() for path in site_runtime.find() or ()} == set(contents.values())
    shutil.rmtree(package)
    site_runtime.fetch()  # npm is not needed
    assert set(site_runtime.saved_files()) == set(site_runtime.find() or ())
    assert command("weights", "clean", "--yes").code == 0
    assert not folder.exists()
    with pytest.raises(WeightsError, match=r"could not be fetched: npm pack failed"):
        site_runtime.fetch()


@pytest.mark.weights
def test_the_command_writes_a_folder(
    command: Command, runtime: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_runtime, "find", lambda **_: runtime)
    out = tmp_path / "web"
    code, printed, err = command("site", "--out", out, "--model", weights.find())
    assert (code, printed) == (0, f"{out}\n")
    assert "exporting mobile_sam.safetensors ..." in err
    code, printed, _ = command("site", "--out", out, "--force", "--json", "--precision", "float32")
    assert code == 0
    assert json.loads(printed)["files"].keys() == names_in(out) - {"manifest.json"}
    assert command("site", "--out", out).code == 1
