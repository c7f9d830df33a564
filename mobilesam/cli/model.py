"""Loading the model that a command's options name, with a progress bar when weights are fetched."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mobilesam.cli.options import Backend, BackendOption, Device, DeviceOption, ModelOption, ProviderOption

if TYPE_CHECKING:
    from mobilesam.batch import ModelChoice
    from mobilesam.model import MaskModel


@dataclass(frozen=True)
class ModelOptions:
    """The options of a command that say which model runs where."""

    model: ModelOption = None
    backend: BackendOption = Backend.auto
    device: DeviceOption = Device.auto
    provider: ProviderOption = None

    def load(self, threads: int | None) -> MaskModel:
        """Return the model."""
        return load_model(self.model, self.backend, self.device, threads, self.provider)

    def choice(self, threads: int | None) -> ModelChoice:
        """Return what a batch's workers load; published weights are fetched here and now."""
        from mobilesam.batch import ModelChoice

        fetch_weights(self.model)
        backend, device = self.backend.value, self.device.value
        return ModelChoice(self.model, backend, device, threads, self.provider, pin_threads=True)


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of :class:`ModelOptions`, which it takes as ``network``."""
    own = inspect.signature(command, eval_str=True)
    shared = inspect.signature(ModelOptions, eval_str=True).parameters

    @functools.wraps(command)
    def expanded(**given: Any) -> None:
        network = ModelOptions(**{name: given.pop(name) for name in shared})
        command(**given, network=network)

    kept = [parameter for name, parameter in own.parameters.items() if name != "network"]
    expanded.__signature__ = own.replace(parameters=[*kept, *shared.values()])  # type: ignore[attr-defined]
    return expanded


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
