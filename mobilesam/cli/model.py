"""Loading the model that a command's options name, with a progress bar when weights are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilesam.cli.options import Backend, Device

if TYPE_CHECKING:
    from mobilesam.model import MaskModel


def load_model(
    model: str | None, backend: Backend, device: Device, threads: int | None, provider: str | None = None
) -> MaskModel:
    """Return the model, with ``pin_threads``; the published weights are fetched on first use, with a bar on stderr."""
    import mobilesam

    fetch_weights(model)
    return mobilesam.load(model, backend, device, threads, provider, pin_threads=True)


def fetch_weights(model: str | None) -> None:
    """Fetch the published weights, if it is them that an option names, and if they are not there yet."""
    from mobilesam import weights
    from mobilesam.cli.progress import download_bar

    name = weights.DEFAULT if model is None else model
    if name in weights.names():
        with download_bar() as progress:
            weights.ensure(name, progress)
