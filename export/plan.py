"""The graphs that an export writes, and their options."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.masks.selection import LEARNED
from mobilesam.onnx import contract

DEFAULT_PARTS = ("encoder", "split_decoder", "decoder")
PARTS = (*DEFAULT_PARTS, *(graph.role for graph in contract.LEARNED))
PREPROCESSING = ("none", "float32", "uint8")
SELECTIONS = ("reference", LEARNED)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The options of an export.

    parts: what to write: "encoder"; "split_decoder", the decoder for many prompts, in three graphs; "decoder", the
        decoder of SAM's exporter; "chooser", which chooses among the masks of "decoder" for one click, see
        :mod:`mobilesam.masks.chooser`; "expectation", where everything mode finds new masks, see
        :mod:`mobilesam.automatic.expected_masks`. The last two are always of opset 17, and not written by default.
    opset: version of ONNX's operators, 17 to 23.
    dynamic_size: the encoder takes any height and width that are multiples of 16.
    preprocess: "none", or "float32" or "uint8": the encoder takes (H, W, 3) RGB pixels of this type in 0..255, and
        normalizes and pads them.
    input_name: the name of the encoder's input.
    return_single_mask, use_stability_score, return_extra_metrics: as in SAM's exporter, for "decoder".
    select: the mask of return_single_mask: "reference", that of SAM's exporter; or "learned", for one click that of the
        chooser, with the output "confidence", and for other prompts that of SAM's exporter, with NaN.
    low_res_only: "decoder" does not resize masks, for runtimes without dynamic sizes.
    gelu_approximate: the tanh formula, for runtimes without the error function; results differ by about 0.01.

    Raises:
        InputError: an option is not one of these, or two of them exclude each other.
    """

    parts: tuple[str, ...] = DEFAULT_PARTS
    opset: int = contract.DEFAULT_OPSET
    dynamic_size: bool = False
    preprocess: str = "none"
    input_name: str = contract.INPUT_NAME
    return_single_mask: bool = False
    use_stability_score: bool = False
    return_extra_metrics: bool = False
    select: str = "reference"
    low_res_only: bool = False
    gelu_approximate: bool = False

    def __post_init__(self) -> None:
        if "steps" in self.parts:
            message = "The part 'steps' is now 'split_decoder'. The old name will be removed in release 0.3."
            warnings.warn(message, DeprecationWarning, stacklevel=3)
            renamed = tuple("split_decoder" if part == "steps" else part for part in self.parts)
            object.__setattr__(self, "parts", renamed)
        for part in self.parts or ("",):
            if part not in PARTS:
                raise InputError(unknown_name("part", part, PARTS))
        if self.opset not in contract.OPSETS:
            bounds = f"be {contract.OPSETS[0]} to {contract.OPSETS[-1]}"
            raise InputError(sentence("opset", bounds, self.opset, f"use {contract.DEFAULT_OPSET}"))
        if self.preprocess not in PREPROCESSING:
            raise InputError(unknown_name("preprocess", self.preprocess, PREPROCESSING))
        if self.select not in SELECTIONS:
            raise InputError(unknown_name("select", self.select, SELECTIONS))
        if not self.input_name.isidentifier():
            remedy = "use letters, digits and underscores"
            raise InputError(sentence("input_name", "be a name", repr(self.input_name), remedy))
        if self.input_name != contract.INPUT_NAME and "encoder" not in self.parts:
            remedy = "leave it out: it is the name of the encoder's input"
            raise InputError(sentence("input_name", "be given with the part encoder", ", ".join(self.parts), remedy))
        if self.dynamic_size and self.preprocess != "none":
            remedy = "leave one of them out: an encoder that preprocesses takes images of any size"
            raise InputError(sentence("dynamic_size", "be False with preprocess", self.preprocess, remedy))
        if self.low_res_only and self.return_extra_metrics:
            remedy = "leave one of them out: the metrics are those of full-size masks"
            raise InputError(sentence("return_extra_metrics", "be False with low_res_only", "both", remedy))
        if self.select == LEARNED:
            self._check_learned()

    def _check_learned(self) -> None:
        if not self.return_single_mask:
            remedy = "add return_single_mask, or leave select out and choose with the part chooser"
            raise InputError(sentence("select", "be reference without return_single_mask", LEARNED, remedy))
        if self.use_stability_score:
            remedy = "leave one of them out: the chooser needs the predicted IoUs"
            raise InputError(sentence("select", "be reference with use_stability_score", LEARNED, remedy))
        if self.low_res_only:
            remedy = "leave select and return_single_mask out, and add the part chooser"
            raise InputError(sentence("select", "be reference with low_res_only", LEARNED, remedy))

    @property
    def graphs(self) -> list[contract.Graph]:
        """The graphs to write."""
        of_part = {"encoder": [self._encoder], "split_decoder": contract.SPLIT_DECODER, "decoder": [self._decoder]}
        of_part |= {graph.role: [graph] for graph in contract.LEARNED}
        return [graph for part in PARTS if part in self.parts for graph in of_part[part]]

    @property
    def decoder_options(self) -> dict[str, str]:
        """The options in the metadata of "decoder"."""
        scores = "stability" if self.use_stability_score else "iou"
        masks = {"masks": LEARNED} if self.select == LEARNED else {}
        return {"scores": scores, "gelu": "tanh" if self.gelu_approximate else "exact"} | masks

    @property
    def _encoder(self) -> contract.Graph:
        by_preprocessing = {"float32": contract.ENCODER_HWC, "uint8": contract.ENCODER_HWC_UINT8}
        normalized = contract.ENCODER_DYNAMIC if self.dynamic_size else contract.ENCODER
        return contract.with_input_name(by_preprocessing.get(self.preprocess, normalized), self.input_name)

    @property
    def _decoder(self) -> contract.Graph:
        return contract.decoder(
            return_single_mask=self.return_single_mask,
            extra_metrics=self.return_extra_metrics,
            low_res_only=self.low_res_only,
            confidence=self.select == LEARNED,
        )
