"""The command line of SAM's ``scripts/export_onnx_model.py``, as ``python -m mobilesam.export``.

It writes one decoder file, as that script does; ``mobilesam export`` has more options.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from mobilesam.config import VARIANTS
from mobilesam.errors import MobileSamError
from mobilesam.files import refuse_existing, write_bytes
from mobilesam.onnx import contract


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags of the reference's script."""
    parser = argparse.ArgumentParser(
        prog="python -m mobilesam.export", description="Export the prompt encoder and mask decoder to an ONNX file."
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="the checkpoint to export")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--model-type", default="vit_t", choices=[*VARIANTS, "default"], help="the network")
    parser.add_argument("--return-single-mask", action="store_true", help="return only the best mask")
    parser.add_argument("--opset", type=int, default=contract.DEFAULT_OPSET, help="version of ONNX's operators")
    parser.add_argument("--quantize-out", type=Path, help="also write a file with 8-bit weights")
    parser.add_argument("--gelu-approximate", action="store_true", help="replace GELU by its tanh approximation")
    parser.add_argument("--use-stability-score", action="store_true", help="score masks by stability")
    parser.add_argument("--return-extra-metrics", action="store_true", help="return stability scores and areas as well")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Export a decoder; return the exit code."""
    options = parse(arguments)
    try:
        _export(options)
    except MobileSamError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _export(options: argparse.Namespace) -> None:
    from mobilesam.export.exporter import export_onnx
    from mobilesam.export.plan import Plan
    from mobilesam.modeling.build import sam_model_registry

    outputs = [path for path in (options.output, options.quantize_out) if path]
    for path in outputs:
        refuse_existing(path, force=options.force)
    plan = Plan(
        parts=("decoder",),
        opset=options.opset,
        return_single_mask=options.return_single_mask,
        use_stability_score=options.use_stability_score,
        return_extra_metrics=options.return_extra_metrics,
        gelu_approximate=options.gelu_approximate,
    )
    sam = sam_model_registry[options.model_type](options.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        (exported,) = export_onnx(sam, folder, plan)
        contents = [exported.path.read_bytes()]
        if options.quantize_out:
            from mobilesam.export.recipes import dynamic

            contents.append(dynamic(onnx.load(exported.path)).SerializeToString())
    for path, content in zip(outputs, contents, strict=True):
        write_bytes(path, content, force=options.force)
        sys.stderr.write(f"{path}: {len(content):,} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
