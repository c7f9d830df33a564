"""The tiers of the package: a module imports only what stands below it, and nobody goes round in circles."""

from __future__ import annotations

import ast
import graphlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Packages and single modules by tier, the lowest first. A module imports from its own package and from lower tiers.
TIERS = tuple(
    line.split()
    for line in (
        "_moved arrays",
        "_version cores errors file_kind geometry versions",
        "mobilesam build config files learned optional prompt_file selection",
        "cluster image masks prompts samples storage visualize",
        "model weights",
        "embedding modeling onnx",
        "runtimes segment",
        "loading",
        "predictor_image",
        "predictor",
        "automatic bench formats",
        "batch evaluate",
        "finetune serve",
        "export webui",
        "automatic_mask_generator build_sam utils",
        "cli",
        "__main__",
    )
)
TIER_OF = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}
# The modules that may import torch, each of which says so where it is missing.
WITH_TORCH = {
    *("cli.doctor", "image.transform", "masks.device_nms", "runtimes.torch", "weights.checkpoint"),
    *(f"export.{name}" for name in ("exporter", "fixed_modules", "onnx_module", "templates", "tracing", "wrappers")),
    *(f"export.targets.{name}" for name in ("litert", "traced")),
    *(
        "modeling.common",
        "modeling.image_encoder",
        "modeling.mask_decoder",
        "modeling.prompt_encoder",
        "modeling.sam",
        "modeling.tiny_vit_sam",
    ),
    *("modeling.torch_sam", "modeling.transformer"),
    *(f"finetune.{name}" for name in ("distillation", "embeddings", "heldback", "loop", "losses", "network", "run")),
    *(f"finetune.{name}" for name in ("chooser_learning", "snapshot", "trainable", "training")),
}
SOURCES = [*sorted((ROOT / "mobilesam").rglob("*.py")), *sorted((ROOT / "export").rglob("*.py"))]
SOURCES += sorted((ROOT / "webui").rglob("*.py"))
SOURCES = [path for path in SOURCES if "pack_files" not in path.parts]  # programs of other tools


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "mobilesam" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imports_of(path: Path) -> set[str]:
    """Return the full names of what a module imports anywhere in it, but for what only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    result = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            result |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            result |= {f"{node.module}.{alias.name}" for alias in node.names}
    return result


def own_imports(path: Path) -> set[str]:
    """Return the modules of this project that a module imports, without the leading ``mobilesam.``."""
    result = set()
    for name in imports_of(path):
        if name.partition(".")[0] == "mobilesam":
            inner = name.partition(".")[2]
            result.add(inner if inner in MODULES else inner.rpartition(".")[0])
    return result - {module_of(path)}


def room(module: str) -> str:
    return module.partition(".")[0] or "mobilesam"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_room_and_below(module: str) -> None:
    assert room(module) in TIER_OF, f"give {room(module)!r} a place in TIERS"
    for imported in own_imports(MODULES[module]):
        below = TIER_OF[room(imported)] < TIER_OF[room(module)]
        assert below or room(imported) == room(module), f"{module} imports {imported}, which does not stand below it"


def test_there_is_no_circle() -> None:
    graph = {module: own_imports(path) for module, path in MODULES.items() if module}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("cli")


def test_nothing_of_ours_uses_the_compatibility_names_or_the_front_ends() -> None:
    for module, path in MODULES.items():
        allowed = {
            "automatic_mask_generator": set(),
            "build_sam": set(),
            "utils": set(),
            "export": {"cli", "utils"},
            "webui": {"cli"},
            "cli": {"__main__"},
        }
        for imported in own_imports(path):
            owner = room(imported)
            if owner in allowed:
                assert room(module) in {owner, *allowed[owner]}, f"{module} imports {imported}"


def test_nothing_of_ours_uses_old_paths() -> None:
    old = {module for module, path in MODULES.items() if own_imports(path) == {"_moved"}} - {"errors"}
    assert old == {"automatic.records", "build", "formats.picture", "prompt_file", "selection"}
    for module, path in MODULES.items():
        assert not own_imports(path) & old, module


def test_only_listed_modules_import_torch() -> None:
    heavy = {"torch", "torchvision", "timm"}
    packages = {module: {name.partition(".")[0] for name in imports_of(path)} for module, path in MODULES.items()}
    assert {module for module, result in packages.items() if result & heavy} == WITH_TORCH


def test_every_package_is_installed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["setuptools"]
    mapped = {folder: name for name, folder in settings["package-dir"].items()}
    folders = {path.parent.relative_to(ROOT).as_posix() for path in SOURCES if path.name == "__init__.py"}
    expected = set()
    for folder in folders:
        top, _, rest = folder.partition("/")
        name = mapped.get(top, top) if top != "mobilesam" else "mobilesam"
        expected.add(".".join(filter(None, (name, rest.replace("/", ".")))))
    assert expected <= set(settings["packages"]), "list it under packages in pyproject.toml"
    assert {path.parent for path in SOURCES} == {ROOT / folder for folder in folders}, "a folder lacks __init__.py"


def test_no_module_is_longer_than_300_lines() -> None:
    long = {module: count for module, path in MODULES.items() if (count := len(path.read_text().splitlines())) > 300}
    assert not long
