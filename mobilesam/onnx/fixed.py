"""Graphs of fixed shapes, for the runtimes of phones, and their use with any number of prompts.

A graph takes one image or one prompt, whose points fill a fixed number of slots; slots without a point have the label
of absent points. The encoder takes a fixed frame, which can be less than the square of the model frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from mobilesam.arrays import Array
from mobilesam.errors import InputError, sentence
from mobilesam.onnx import contract
from mobilesam.prompts.arrays import ABSENT

MOST_POINTS = 64  # of a prompt, that a graph can have slots for
BLOCK_ROWS = 16  # of the token grid that are upscaled in a call
EXTRA_SLOTS = 2  # for the corners of a box, or the padding point of a prompt without one
# The chooser returns its confidence in each mask; the mask to keep is that of the largest.
CHOOSER = replace(contract.CHOOSER, outputs=contract.CHOOSER.outputs[-1:])
PARTS = (contract.ENCODER, *contract.SPLIT_DECODER, contract.decoder(low_res_only=True), CHOOSER)

_OF_ALL = ("has_mask_input", "orig_im_size")  # vectors, which prompts share
ROLES = tuple(graph.role for graph in PARTS)

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def is_frame(frame_hw: tuple[int, int]) -> bool:
    """Return whether the encoder can have frames of a size: a longer side of the model frame, both of whole patches."""
    side, patch = contract.IMAGE_SIZE, contract.IMAGE_SIZE // contract.GRID_SIZE
    return max(frame_hw) == side and all(each >= patch and each % patch == 0 for each in frame_hw)


def graphs(points: int, frame_hw: tuple[int, int]) -> dict[str, contract.Graph]:
    """Return the graphs by role.

    Args:
        points: of a user in a prompt; a box or a padding point come on top.
        frame_hw: (height, width) of the image that the encoder takes, in the model frame.
    """
    slots = points + EXTRA_SLOTS
    sizes = {"batch": 1, "images": 1, "prompts": 1, "points": slots, "num_points": slots}
    sizes |= {"rows": BLOCK_ROWS, "columns": contract.GRID_SIZE}
    sizes |= {"height": 4 * BLOCK_ROWS, "width": contract.LOGITS_SIZE}

    def fixed(value: contract.Value) -> contract.Value:
        return value._replace(shape=tuple(sizes[dim] if isinstance(dim, str) else dim for dim in value.shape))

    result = {}
    for graph in PARTS:
        inputs, outputs = (tuple(map(fixed, values)) for values in (graph.inputs, graph.outputs))
        if graph.role == contract.ENCODER.role:
            inputs = (inputs[0]._replace(shape=(1, 3, *frame_hw)),)
        result[graph.role] = replace(graph, inputs=inputs, outputs=outputs)
    return result


class FixedSession:
    """A graph of fixed shapes with the interface of ONNX Runtime's sessions, as far as this package uses it.

    Several threads can run it at the same time.

    Args:
        graph: one of :func:`graphs`.
        open_run: returns what computes the outputs of the graph from its inputs, by name; called again for each call
            that runs beside others.
        about: the metadata of the file, with the keys of :func:`mobilesam.onnx.metadata.describe`.
        runtime: its name, for :attr:`mobilesam.model.Capabilities.device`.
    """

    def __init__(
        self, graph: contract.Graph, open_run: Callable[[], Run], about: Mapping[str, str], runtime: str
    ) -> None:
        self._graph, self._open_run, self._about, self._runtime = graph, open_run, dict(about), runtime
        self._idle = [open_run()]  # as many as there were calls at the same time

    def get_inputs(self) -> list[SimpleNamespace]:
        """Return name, shape and type of each input; the sides of the encoder's image vary up to those of the frame."""
        values = [*self._graph.inputs]
        if self._graph.role == contract.ENCODER.role:
            values = [values[0]._replace(shape=(1, 3, "height", "width"))]
        return [SimpleNamespace(name=each.name, shape=list(each.shape), type="tensor(float)") for each in values]

    def get_outputs(self) -> list[SimpleNamespace]:
        """Return the same of each output."""
        return [SimpleNamespace(name=each.name, shape=list(each.shape)) for each in self._graph.outputs]

    def get_providers(self) -> list[str]:
        """Return the name of the device, as ONNX Runtime names its execution providers."""
        return [f"CPU of {self._runtime}"]

    def get_modelmeta(self) -> SimpleNamespace:
        """Return the metadata as ``custom_metadata_map``."""
        return SimpleNamespace(custom_metadata_map=self._about)

    def run(self, output_names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Return outputs by their names, for inputs of varying sizes.

        Raises:
            InputError: the image does not fit the frame, or a prompt has more points than the graph.
        """
        try:
            compute = self._idle.pop()
        except IndexError:
            compute = self._open_run()
        results = []
        try:
            for each in self._single(inputs):
                outputs = compute({value.name: self._fitted(value, each[value.name]) for value in self._graph.inputs})
                results.append([self._cropped(name, outputs[name], each) for name in output_names])
        finally:
            self._idle.append(compute)
        # The position of tokens does not depend on the prompt.
        return [
            parts[0] if len(parts) == 1 or name == "positions" else np.concatenate(parts)
            for name, parts in zip(output_names, zip(*results, strict=True), strict=True)
        ]

    def _single(self, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """Yield the inputs for each image or prompt; what all of them share has one row."""
        count = max(len(value) for name, value in inputs.items() if name not in _OF_ALL)
        for place in range(count):
            yield {
                name: value if name in _OF_ALL or len(value) == 1 else value[place : place + 1]
                for name, value in inputs.items()
            }

    def _fitted(self, value: contract.Value, given: Array) -> Array:
        """Return an input with the shape of the graph."""
        shape = tuple(int(dim) for dim in value.shape)
        if given.shape == shape:
            return np.ascontiguousarray(given, np.float32)
        if value.name in ("point_coords", "point_labels") and given.shape[1] > shape[1]:
            most = shape[1] - EXTRA_SLOTS
            remedy = "use fewer, or export again with a larger --points"
            requirement = f"be at most {most}, or {most + 1} without a box"
            raise InputError(sentence("the points of a prompt", requirement, given.shape[1], remedy))
        part = tuple(slice(min(a, b)) for a, b in zip(given.shape, shape, strict=True))
        if value.name == contract.INPUT_NAME and any(
            given[(slice(None),) * axis + (slice(side, None),)].any() for axis, side in enumerate(shape)
        ):
            actual = f"more, within {given.shape[2]}x{given.shape[3]}"
            remedy = "rotate the image, or export again with another --image-size"
            raise InputError(sentence("image in the model frame", f"fit into {shape[2]}x{shape[3]}", actual, remedy))
        fill = ABSENT if value.name == "point_labels" else 0
        fitted = np.full(shape, fill, np.float32)
        fitted[part] = given[part]
        return fitted

    def _cropped(self, name: str, output: Array, inputs: Mapping[str, Array]) -> Array:
        if name != "low_res_logits":
            return output
        rows, columns = inputs["image_tokens"].shape[1:3]
        return output[:, :, : 4 * rows, : 4 * columns]
