"""What takes long to make, made once."""

from __future__ import annotations

import pytest


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
    from mobilesam.export import skeletons

    return skeletons.make()
