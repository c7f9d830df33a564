"""Every public name of segment_anything and mobile_sam is here, or in the list of docs/coming-from-sam.md."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("segment_anything", "mobile_sam")
# The constructors of networks, and their layers.
OWN_SIGNATURES = re.compile(r"modeling\.(.*\.__init__$|tiny_vit_sam\.|transformer\.)")
pytestmark = pytest.mark.torch


def listed() -> dict[str, str]:
    """Return the names of the page's list of missing names, as patterns, with their reasons."""
    page = (ROOT / "docs/coming-from-sam.md").read_text(encoding="utf-8")
    section = page.partition("## Names that are missing")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", section, re.MULTILINE)
    return {name: reason for names, reason in rows for name in re.findall(r"`(.+?)`", names)}


def public_names(folder: Path, package: str) -> dict[str, ast.FunctionDef | None]:
    """Return what a package defines: modules, functions, classes and their methods, constants; functions as code."""
    names: dict[str, ast.FunctionDef | None] = {}
    for path in sorted((folder / package).rglob("*.py")):
        module = ".".join(path.relative_to(folder / package).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        names[module] = None
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            prefix = f"{module}." if module else ""
            if isinstance(node, ast.ImportFrom) and path.name == "__init__.py":
                names.update((prefix + (alias.asname or alias.name), None) for alias in node.names)
            elif isinstance(node, ast.FunctionDef):
                names[prefix + node.name] = node
            elif isinstance(node, ast.Assign):
                names.update((prefix + target.id, None) for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.ClassDef):
                names[prefix + node.name] = None
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                names.update((f"{prefix}{node.name}.{method.name}", method) for method in methods)
    return {name: node for name, node in names.items() if name and not re.search(r"(^|\.)_(?!_init__)", name)}


def find(name: str) -> Any:
    """Return what ``mobilesam.<name>`` is: a module, or an attribute of one."""
    parts = name.split(".")
    for length in range(len(parts), -1, -1):
        try:
            value = importlib.import_module(".".join(["mobilesam", *parts[:length]]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            value = inspect.getattr_static(value, part) if inspect.isclass(value) else getattr(value, part)
        return value
    raise AttributeError(name)


def is_listed(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in listed())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_here_or_listed(reference: Path, package: str) -> None:
    missing = []
    for name in public_names(reference, package):
        try:
            find(name)
        except AttributeError:
            missing.append(name)
    assert [name for name in missing if not is_listed(name)] == []


def test_the_list_is_short_and_all_of_it_is_missing(reference: Path) -> None:
    assert len(set(listed().values())) <= 5
    names = {name for package in PACKAGES for name in public_names(reference, package)}
    for pattern in listed():
        matches = fnmatch.filter(names, pattern)
        assert matches, f"{pattern} matches nothing in either package"
        for name in matches:
            with pytest.raises(AttributeError):
                find(name)


def parameters_of(node: ast.FunctionDef) -> dict[str, str | None]:
    """Return the parameters of a function of the reference with the source of their defaults."""
    arguments = node.args
    positional = [argument.arg for argument in arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [ast.unparse(each) for each in arguments.defaults]
    parameters = dict(zip(positional, defaults, strict=True))
    parameters.pop("self", None)
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters.update((argument.arg, default and ast.unparse(default)) for argument, default in keywords)
    return parameters


@pytest.mark.parametrize("package", PACKAGES)
def test_the_signatures_are_those_of_the_package(reference: Path, package: str) -> None:
    checked = 0
    for name, node in public_names(reference, package).items():
        own = OWN_SIGNATURES.match(name)
        if node is None or own or is_listed(name):
            continue
        function = find(name)
        if isinstance(function, property):
            continue
        function = function.__func__ if isinstance(function, staticmethod) else function
        ours = {name: each for name, each in inspect.signature(function).parameters.items() if name != "self"}
        for (parameter, default), mine in zip(parameters_of(node).items(), ours.values(), strict=False):
            assert mine.name == parameter, f"{name}: {mine.name} instead of {parameter}"
            if default is not None:
                assert mine.default == eval(default, {}), f"{name}: the default of {parameter}"
        assert len(ours) >= len(parameters_of(node)), name
        for extra in list(ours.values())[len(parameters_of(node)) :]:
            optional = extra.default is not extra.empty or extra.kind in (extra.VAR_POSITIONAL, extra.VAR_KEYWORD)
            assert optional, f"{name} requires {extra.name}"
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("first", ["from mobilesam.build_sam import build_sam_vit_t", "import mobilesam.build_sam"])
def test_build_sam_stays_callable_beside_its_module(first: str) -> None:
    for lines in (
        [first, "import mobilesam", "assert callable(mobilesam.build_sam)"],
        ["import mobilesam", "assert callable(mobilesam.build_sam)", first, "assert callable(mobilesam.build_sam)"],
        [first, "from mobilesam import build_sam", "assert callable(build_sam)"],
    ):
        subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


def test_the_attributes_of_the_generator_can_be_read_and_assigned(torch_sam: Any) -> None:
    generator = mobilesam.SamAutomaticMaskGenerator(torch_sam, points_per_side=8, crop_nms_thresh=0.5)
    assert generator.crop_nms_thresh == 0.5
    assert [len(grid) for grid in generator.point_grids] == [64]
    for name, value in {
        "points_per_batch": 16,
        "pred_iou_thresh": 0.7,
        "stability_score_thresh": 0.8,
        "stability_score_offset": 0.9,
        "box_nms_thresh": 0.6,
        "crop_n_layers": 1,
        "crop_nms_thresh": 0.4,
        "crop_overlap_ratio": 0.2,
        "crop_n_points_downscale_factor": 2,
        "min_mask_region_area": 10,
        "output_mode": "coco_rle",
    }.items():
        setattr(generator, name, value)
        assert getattr(generator, name) == value
    assert [len(grid) for grid in generator.point_grids] == [64, 16]
    generator.point_grids = [np.full((3, 2), 0.5), np.full((1, 2), 0.5)]
    assert generator.points_per_side is None
    assert [len(grid) for grid in generator.point_grids] == [3, 1]
    with pytest.raises(mobilesam.MobileSamError, match="pred_iou_thresh must be from 0 to 1, got 2"):
        generator.pred_iou_thresh = 2
    assert generator.pred_iou_thresh == 0.7
    assert len(inspect.signature(type(generator).postprocess_small_regions).parameters) == 3


def run_with_compat(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = [str(folder) for folder in (ROOT / "compat", *folders)]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compat_provides_mobile_sam_with_all_submodules(reference: Path) -> None:
    names = [
        name for name, node in public_names(reference, "mobile_sam").items() if node is None and not is_listed(name)
    ]
    modules = [name for name in names if inspect.ismodule(find(name))]
    assert {"build_sam", "utils.amg", "modeling.tiny_vit_sam"} <= {*modules, "build_sam"}
    code = f"""
import importlib, mobilesam
for name in {modules!r}:
    assert importlib.import_module("mobile_sam." + name) is importlib.import_module("mobilesam." + name), name
import mobile_sam
from mobile_sam.build_sam import sam_model_registry
assert mobile_sam.build_sam is sam_model_registry["default"]
assert mobile_sam.SamPredictor is mobilesam.SamPredictor
"""
    run = run_with_compat(code)
    assert run.returncode == 0, run.stderr


def test_compat_refuses_to_run_beside_another_mobile_sam(reference: Path) -> None:
    run = run_with_compat("import mobile_sam", reference)
    assert run.stderr.splitlines()[-1] == (
        "ImportError: Two installed distributions provide the module mobile_sam: mobilesam-compat and "
        "mobilesam-mirror. Remove one of them: pip uninstall mobilesam-mirror, then install mobilesam-compat again."
    )
