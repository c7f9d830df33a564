"""The options of a command that name a model, and loading it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mobilesam.cli.options import (
    Backend,
    BackendOption,
    Device,
    DeviceOption,
    ModelOption,
    Precision,
    PrecisionOption,
    ProviderOption,
)
from mobilesam.config import FLOAT32

if TYPE_CHECKING:
    from mobilesam.batch import ModelChoice
    from mobilesam.model import MaskModel


@dataclass(frozen=True)
class ModelOptions:
    """The model, and where it runs."""

    model: ModelOption = None
    backend: BackendOption = Backend.auto
    device: DeviceOption = Device.auto
    provider: ProviderOption = None
    precision: PrecisionOption = Precision.float32

    def load(self, threads: int | None) -> MaskModel:
        """Return the model."""
        return load_model(self.model, self.backend, self.device, threads, self.provider, self.precision.value)

    def choice(self, threads: int | None) -> ModelChoice:
        """Return the model that the workers of a batch load; published weights are fetched now."""
        from mobilesam.batch import ModelChoice

        fetch_weights(self.model)
        backend, device = self.backend.value, self.device.value
        precision = self.precision.value
        return ModelChoice(self.model, backend, device, threads, self.provider, pin_threads=True, precision=precision)


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of :class:`ModelOptions` to a command, which receives them as ``network``."""
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
    model: str | None,
    backend: Backend,
    device: Device,
    threads: int | None,
    provider: str | None = None,
    precision: str = FLOAT32,
) -> MaskModel:
    """Return the model, with ``pin_threads``; published weights are fetched on first use, with a bar on stderr."""
    import mobilesam

    fetch_weights(model)
    return mobilesam.load(model, backend, device, threads, provider, pin_threads=True, precision=precision)


def fetch_weights(model: str | None) -> None:
    """Fetch the weights if ``model`` is the name of published weights that are not yet stored."""
    from mobilesam import weights

    name = weights.DEFAULT if model is None else model
    if name in weights.names() and weights.find(name) is None:
        from mobilesam.cli.progress import download_bar

        with download_bar() as progress:
            weights.ensure(name, progress)
