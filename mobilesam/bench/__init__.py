"""The speed of a model on one machine, stage by stage, with the conditions of the measurement."""

from mobilesam.bench.compare import compare
from mobilesam.bench.environment import describe_environment
from mobilesam.bench.stages import bench_image, bench_stages, write_sample

__all__ = ["bench_image", "bench_stages", "compare", "describe_environment", "write_sample"]
