"""Exports that take long, made once."""

from __future__ import annotations

import importlib.util

import onnx
import pytest

# All of their tests are marked torch, and they import the networks as a whole.
collect_ignore = [] if importlib.util.find_spec("torch") else ["test_operators.py", "test_tuned_choosers.py"]


@pytest.fixture(scope="session")
def exported(sam, tmp_path_factory):
    """A folder with every part of the trained network, as ``mobilesam export`` writes it."""
    from mobilesam.export.exporter import export_onnx

    folder = tmp_path_factory.mktemp("onnx")
    export_onnx(sam, folder)
    return folder


@pytest.fixture(scope="session")
def remade():
    """The graphs without weights that the package carries, traced again."""
    from mobilesam.export import templates

    return templates.make()


@pytest.fixture(scope="session", autouse=True)
def graphs_traced_once():
    """Trace a graph once: it holds no weights, and depends on the module's kind and settings, and on the sizes."""
    if not importlib.util.find_spec("torch"):
        yield
        return
    from mobilesam.export import exporter, templates, tracing

    traced = {}

    def trace(module, graph, opset, **options):
        settings = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        key = (type(module), str(settings), module.sam.config, module.sam.training, graph, opset, str(options))
        if key not in traced:
            traced[key] = tracing.trace(module, graph, opset, **options)
        model = onnx.ModelProto()
        model.CopyFrom(traced[key])
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "trace", trace)
        patch.setattr(templates, "trace", trace)
        yield
