"""Export to CoreML: packages of the contract, for iOS 16. They are converted, and cannot be run here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mobilesam
from mobilesam.errors import InputError
from mobilesam.onnx import fixed
from tests.runtimes import exports
from tests.runtimes.exports import export, manifest, run

pytestmark = [pytest.mark.torch, pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module", params=["float32", "float16", "int8"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("coreml", tmp_path_factory.mktemp("coreml") / request.param, "--precision", request.param)


def test_the_packages_have_the_contract(exported: Path) -> None:
    from coremltools.models.utils import load_spec

    exports.assert_described(exported)
    about = manifest(exported)
    assert about["compared"] == "converted, not run"
    assert [each["role"] for each in about["files"]] == [graph.role for graph in fixed.PARTS]
    limits = {"float32": 41, "float16": 22, "int8": 13}
    assert exports.megabytes(exported) < limits[about["precision"]]
    for each in about["files"]:
        assert each["largest_rank"] <= 4
        spec = load_spec(str(exported / each["file"]))
        assert spec.WhichOneof("Type") == "mlProgram"
        assert spec.specificationVersion == 7, "iOS 16"
        given = {value.name: list(value.type.multiArrayType.shape) for value in spec.description.input}
        assert given == {value["name"]: value["shape"] for value in each["inputs"]}
        given = {value.name: list(value.type.multiArrayType.shape) for value in spec.description.output}
        assert given == {value["name"]: value["shape"] for value in each["outputs"]}


def test_angles_of_positions_stay_in_float32(exported: Path) -> None:
    from coremltools.models.utils import load_spec

    spec = load_spec(str(exported / "decoder.mlpackage"))
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    kinds = {each.outputs[0].type.tensorType.dataType for each in block.operations if each.type in ("sin", "cos")}
    assert kinds == {11}, "float32"
    others = {each.outputs[0].type.tensorType.dataType for each in block.operations if each.type == "softmax"}
    names = [each.outputs[0].name for each in block.operations if each.type.startswith("constexpr")]
    assert bool(names) == (manifest(exported)["precision"] == "int8")
    assert not [name for name in names if re.search("centers|gaussian|window_bias", name)]
    assert others == ({11} if manifest(exported)["precision"] == "float32" else {10})


def test_they_are_not_run_here(exported: Path) -> None:
    with pytest.raises(InputError, match="model must be one that this package runs, got an export to CoreML"):
        mobilesam.load(exported)
    done = run("verify", exported)
    assert done.returncode == 1
    assert "must be one that this package runs, got an export to CoreML" in done.stderr
