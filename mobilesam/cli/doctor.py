"""``mobilesam doctor``: report which packages and weights work, which are missing, and how to install them."""

from __future__ import annotations

import importlib
import json
import os
import platform
from typing import Any, NamedTuple

import typer

from mobilesam._version import __version__
from mobilesam.cli import options
from mobilesam.cores import usable_cores
from mobilesam.errors import MobileSamError, install_command
from mobilesam.versions import installed_version


class Package(NamedTuple):
    """A package that mobilesam uses: its distribution, its module, the extra that installs it, and its purpose."""

    name: str
    module: str
    extra: str
    purpose: str
    required: bool
    imported: bool = True  # whether doctor imports it; it only locates packages that are slow to import


PACKAGES = (
    Package("numpy", "numpy", "", "arrays", True),
    Package("pillow", "PIL", "", "images", True),
    Package("opencv-python", "cv2", "", "overlays and contours", True),
    Package("onnx", "onnx", "", "reading ONNX weights", True),
    Package("onnxruntime", "onnxruntime", "", "running the network", True),
    Package("safetensors", "safetensors", "", "reading weights", True),
    Package("pycocotools", "pycocotools.mask", "", "COCO run lengths", False),
    Package("torch", "torch", "torch", "running the network on a GPU, training", False),
    Package("torchvision", "torchvision", "accelerator", "removing duplicate masks on an accelerator", False),
    Package("onnxscript", "onnxscript", "export", "exporting", False, imported=False),
    Package("gradio", "gradio", "webui", "the web page", False, imported=False),
    Package("openvino", "openvino", "openvino", "running the network on OpenVINO", False, imported=False),
    Package("ai-edge-litert", "ai_edge_litert", "litert", "running exports to LiteRT", False, imported=False),
    Package("litert-torch", "litert_torch", "litert", "exporting to LiteRT", False, imported=False),
    Package("coremltools", "coremltools", "coreml", "exporting to CoreML", False, imported=False),
    Package("pnnx", "pnnx", "ncnn", "exporting to ncnn", False, imported=False),
    Package("ncnn", "ncnn", "ncnn", "running exports to ncnn", False, imported=False),
    Package("pyarrow", "pyarrow", "parquet", "Parquet files", False, imported=False),
    Package("ray", "ray", "ray", "batches on many machines", False, imported=False),
    Package("s3fs", "s3fs", "storage", "images and results on s3://", False, imported=False),
)
_DEBIAN = "apt-get install libgl1 libglib2.0-0 (libglib2.0-0t64 on Debian 13 and Ubuntu 24.04)"
_MATCHING = (
    "it is optional, and must be built for torch {}; install both together, with the command on "
    "https://pytorch.org/get-started/locally/"
)
_OPENCV_LIBRARIES = ("libGL", "libglib", "libgthread")


def doctor(as_json: options.JsonOption = False) -> None:
    """Show versions, devices and weights, and what is missing.

    The exit code is 0 if mobilesam is ready to segment images, otherwise 1.
    """
    report = examine()
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    if not report["ready"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Return the report of the command as JSON values; an empty ``problem`` means that there is none."""
    packages = [_package(package) for package in PACKAGES]
    working = {item["name"] for item in packages if not item["problem"]}
    weights = _weights()
    return {
        "ready": all(package.name in working for package in PACKAGES if package.required) and not weights["problem"],
        "mobilesam": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": _devices() if "torch" in working else ["cpu"],
        "providers": importlib.import_module("onnxruntime").get_available_providers()
        if "onnxruntime" in working
        else [],
        "threads": _threads("torch" in working),
        "weights": weights,
    }


def import_remedy(error: ImportError) -> str:
    """Return the remedy for a package that cannot be imported."""
    if any(library in str(error) for library in _OPENCV_LIBRARIES):
        return f"OpenCV needs system libraries; run: {_DEBIAN}"
    name = (error.name or "").partition(".")[0]
    package = next((package for package in PACKAGES if _top(package) == name), None)
    return f"run: {_pip(package)}" if package else f"reinstall the package that contains {name or 'it'}"


def _top(package: Package) -> str:
    return package.module.partition(".")[0]


def _pip(package: Package) -> str:
    return install_command(package.extra) if package.extra else f"pip install --force-reinstall {package.name}"


def _package(package: Package) -> dict[str, Any]:
    version: str | None = None
    problem = remedy = ""
    try:
        if package.imported:
            importlib.import_module(package.module)
        version = installed_version(package.name, package.module)
    except ModuleNotFoundError as error:
        problem, remedy = f"does not import: {error}", f"run: {_pip(package)}"
        if error.name == _top(package):
            problem = "not installed"
    except Exception as error:  # broken extension modules raise anything when they load
        problem = f"does not import: {(str(error).strip() or repr(error)).splitlines()[0]}"
        remedy = import_remedy(error) if isinstance(error, ImportError) else f"run: {_pip(package)}"
        if package.module == "torchvision":
            remedy = _MATCHING.format(installed_version("torch") or "that is installed")
    return {
        "name": package.name,
        "version": version,
        "purpose": package.purpose,
        "required": package.required,
        "problem": problem,
        "remedy": remedy,
    }


def _devices() -> list[str]:
    import torch

    devices = [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def _threads(torch_works: bool) -> dict[str, int | str | None]:
    threads = importlib.import_module("torch").get_num_threads() if torch_works else None
    return {"processors": usable_cores(), "torch": threads, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}


def _weights() -> dict[str, Any]:
    report: dict[str, Any] = {"name": None, "folder": None, "path": None, "problem": "", "remedy": ""}
    try:
        from mobilesam import weights

        report |= {"name": weights.DEFAULT, "folder": str(weights.folder())}
        path = weights.find()
        if path is None:
            return report | {"problem": "not fetched yet", "remedy": "run: mobilesam weights fetch"}
        report["path"] = str(path)
        bad = [f"{file.path} is {file.problem}" for file in weights.verify() if file.problem]
    except (MobileSamError, ImportError) as error:
        return report | {"problem": str(error)}
    if bad:
        return report | {"problem": "; ".join(bad), "remedy": "run: mobilesam weights fetch --force"}
    return report


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)

    def line(name: str, state: str, text: str) -> None:
        style = {"ok": "green", "missing": "red"}.get(state, "yellow")
        console.print(Text.assemble((f"{state:10}", style), f"{name:16}", text))

    console.print(f"mobilesam {report['mobilesam']}, Python {report['python']}, {report['platform']}")
    for item in report["packages"]:
        state = "ok" if not item["problem"] else "missing" if item["required"] else "optional"
        detail = f"{item['version']}" if not item["problem"] else f"for {item['purpose']}: {_problem(item)}"
        line(item["name"], state, detail)
    threads = ", ".join(f"{value} {name}" for name, value in report["threads"].items() if value is not None)
    console.print(f"{'':10}{'devices':16}{', '.join(report['devices'])}")
    console.print(f"{'':10}{'providers':16}{', '.join(report['providers']) or 'none without ONNX Runtime'}")
    console.print(f"{'':10}{'threads':16}{threads}")
    weights = report["weights"]
    line("weights", "missing" if weights["problem"] else "ok", _problem(weights) or f"{weights['path']}, verified")
    console.print("ready to segment images" if report["ready"] else "not ready: see the lines marked missing")


def _problem(item: dict[str, Any]) -> str:
    return "; ".join(part for part in (item["problem"], item["remedy"]) if part)
