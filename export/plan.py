"""What one export writes: which graphs, with which options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.onnx import contract

if TYPE_CHECKING:
    from mobilesam.export.wrappers import Wrapper
    from mobilesam.modeling import Sam

PARTS = ("encoder", "steps", "decoder")
PREPROCESSING = ("none", "float32", "uint8")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The options of an export.

    parts: what to write: "encoder"; "steps", the decoder for many prompts, in three graphs; "decoder", SAM's contract.
    opset: version of ONNX's operators, 17 or newer.
    dynamic_size: the encoder takes any height and width that are multiples of 16.
    preprocess: the encoder normalizes and pads by itself and takes (H, W, 3) RGB pixels of this type in 0..255.
    return_single_mask, use_stability_score, return_extra_metrics: as in SAM's exporter, for "decoder".
    low_res_only: "decoder" resizes nothing, for runtimes that have no dynamic sizes.
    gelu_approximate: the tanh formula, for runtimes that have no error function; results differ by about 0.01.
    """

    parts: tuple[str, ...] = PARTS
    opset: int = contract.DEFAULT_OPSET
    dynamic_size: bool = False
    preprocess: str = "none"
    return_single_mask: bool = False
    use_stability_score: bool = False
    return_extra_metrics: bool = False
    low_res_only: bool = False
    gelu_approximate: bool = False

    def __post_init__(self) -> None:
        for part in self.parts or ("",):
            if part not in PARTS:
                raise InputError(unknown_name("part", part, PARTS))
        if self.opset not in contract.OPSETS:
            bounds = f"be {contract.OPSETS[0]} to {contract.OPSETS[-1]}"
            raise InputError(sentence("opset", bounds, self.opset, f"use {contract.DEFAULT_OPSET}"))
        if self.preprocess not in PREPROCESSING:
            raise InputError(unknown_name("preprocess", self.preprocess, PREPROCESSING))
        if self.dynamic_size and self.preprocess != "none":
            remedy = "leave one of them out: a graph that preprocesses takes images of any size"
            raise InputError(sentence("dynamic_size", "go without preprocess", self.preprocess, remedy))
        if self.low_res_only and self.return_extra_metrics:
            remedy = "leave one of them out: they are metrics of full-size masks"
            raise InputError(sentence("return_extra_metrics", "go without low_res_only", "both", remedy))

    @property
    def graphs(self) -> list[contract.Graph]:
        """The graphs to write."""
        steps = [contract.IMAGE, contract.SCORE, contract.UPSCALE]
        of_part = {"encoder": [self._encoder], "steps": steps, "decoder": [self._decoder]}
        return [graph for part in PARTS if part in self.parts for graph in of_part[part]]

    @property
    def decoder_options(self) -> dict[str, str]:
        """What the file of "decoder" says about itself beside its contract."""
        options = {"scores": "stability" if self.use_stability_score else "iou"}
        return options | {"gelu": "tanh" if self.gelu_approximate else "exact"}

    @property
    def _encoder(self) -> contract.Graph:
        by_preprocessing = {"float32": contract.ENCODER_HWC, "uint8": contract.ENCODER_HWC_UINT8}
        fixed = contract.ENCODER_DYNAMIC if self.dynamic_size else contract.ENCODER
        return by_preprocessing.get(self.preprocess, fixed)

    @property
    def _decoder(self) -> contract.Graph:
        return contract.decoder(
            return_single_mask=self.return_single_mask,
            extra_metrics=self.return_extra_metrics,
            low_res_only=self.low_res_only,
        )


class Job(NamedTuple):
    """A graph, and the module that computes it."""

    graph: contract.Graph
    module: Wrapper


def jobs(plan: Plan, sam: Sam) -> Iterator[Job]:
    """Yield the graphs of a plan with their modules."""
    from mobilesam.export import wrappers

    encoder = wrappers.Encoder if plan.preprocess == "none" else wrappers.EncoderOfPixels
    modules: dict[str, type[Wrapper]] = {
        "encoder": encoder,
        "image": wrappers.Image,
        "score": wrappers.Score,
        "upscale": wrappers.Upscale,
    }
    for graph in plan.graphs:
        if graph.role in modules:
            yield Job(graph, modules[graph.role](sam))
        else:
            yield Job(
                graph,
                wrappers.Decoder(
                    sam,
                    return_single_mask=plan.return_single_mask,
                    use_stability_score=plan.use_stability_score,
                    extra_metrics=plan.return_extra_metrics,
                    low_res_only=plan.low_res_only,
                ),
            )
