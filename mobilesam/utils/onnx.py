"""Where scripts written for SAM look for SamOnnxModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilesam.export.wrappers import Decoder

if TYPE_CHECKING:
    from mobilesam.modeling import Sam


class SamOnnxModel(Decoder):  # type: ignore[misc]  # mypy does not find the folder that is installed as its module
    """SAM's decoder contract as a module, with the arguments of SAM's class of this name.

    Calling it gives full-size masks (1, C, H, W), IoU predictions (1, C) and low-resolution masks (1, C, 256, 256),
    from the inputs of :func:`mobilesam.onnx.contract.decoder` in their order. The model is put into eval mode.

    To write a file, :func:`mobilesam.export.export_onnx` takes the network itself and compares the file with it.
    PyTorch's older exporter (``dynamo=False``) would freeze the size of the image, as it does with SAM's class.
    """

    def __init__(
        self,
        model: Sam,
        return_single_mask: bool,
        use_stability_score: bool = False,
        return_extra_metrics: bool = False,
    ) -> None:
        super().__init__(model, return_single_mask, use_stability_score, return_extra_metrics, low_res_only=False)


__all__ = ["SamOnnxModel"]
