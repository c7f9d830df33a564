"""SamOnnxModel, SAM's decoder contract as a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilesam.optional import import_torch

torch = import_torch("mobilesam.utils.onnx")

from mobilesam.export.wrappers import Decoder  # noqa: E402

if TYPE_CHECKING:
    from mobilesam.modeling import MaskDecoder, Sam


class SamOnnxModel(Decoder):  # type: ignore[misc]  # mypy does not find the folder that is installed as its module
    """SAM's decoder contract as a module, with the arguments of SAM's class of this name.

    Calling it gives full-size masks (1, C, H, W), IoU predictions (1, C) and low-resolution masks (1, C, 256, 256),
    from the inputs of :func:`mobilesam.onnx.contract.decoder` in their order. The model is put into eval mode.

    To write a file, :func:`mobilesam.export.export_onnx` takes the network itself and compares the file with it. With
    ``torch.onnx.export`` pass ``dynamo=False``: the newer exporter of PyTorch does not accept the ``dynamic_axes`` of
    SAM's export script, for SAM's class and for this one.
    """

    def __init__(
        self,
        model: Sam,
        return_single_mask: bool,
        use_stability_score: bool = False,
        return_extra_metrics: bool = False,
    ) -> None:
        super().__init__(model, return_single_mask, use_stability_score, return_extra_metrics, low_res_only=False)

    forward = torch.no_grad()(Decoder.forward)

    @property
    def model(self) -> Sam:
        """The network."""
        return self.sam  # type: ignore[no-any-return]

    @property
    def mask_decoder(self) -> MaskDecoder:
        """The mask decoder of the network."""
        return self.sam.mask_decoder  # type: ignore[no-any-return]

    @property
    def img_size(self) -> int:
        """The side of the model frame, 1024."""
        return self.sam.config.image_size  # type: ignore[no-any-return]


__all__ = ["SamOnnxModel"]
