"""The command line with a model that needs no weights, in its worker processes too, which import this file."""

from __future__ import annotations

from mobilesam import loading
from mobilesam.cli import main
from tests.automatic.color_model import ColorModel

loading.load = lambda *_, **__: ColorModel()

if __name__ == "__main__":
    main()
