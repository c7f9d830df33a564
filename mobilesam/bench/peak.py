"""What the processor reaches at best: a large matrix product, the peak that other times are compared with."""

from __future__ import annotations

import time

import numpy as np

from mobilesam.cores import usable_cores
from mobilesam.onnx.sessions import open_session

_SIDE = 1536
_PRODUCT = f"""
<ir_version: 8, opset_import: ["" : 17]>
product (float[{_SIDE}, {_SIDE}] a, float[{_SIDE}, {_SIDE}] b) => (float[{_SIDE}, {_SIDE}] c) {{ c = MatMul (a, b) }}
"""


def gemm_gflops(seconds: float = 0.5) -> dict[str, float]:
    """Return the most GFLOP/s of float32 matrix products in ONNX Runtime, by the number of threads: 1 and all cores.

    Args:
        seconds: how long to repeat the product for each number of threads; the fastest one counts.
    """
    import onnx

    product = onnx.parser.parse_model(_PRODUCT).SerializeToString()
    inputs = {name: np.random.default_rng(0).random((_SIDE, _SIDE), np.float32) for name in "ab"}
    peaks = {}
    for threads in sorted({1, usable_cores()}):
        session = open_session(product, "cpu", threads)
        fastest, end = float("inf"), time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            session.run(None, inputs)
            fastest = min(fastest, time.perf_counter() - start)
        peaks[str(threads)] = round(2 * _SIDE**3 / fastest / 1e9, 1)
    return peaks
