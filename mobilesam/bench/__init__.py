"""Speed of one machine and model, stage by stage, with everything a reader needs to judge the numbers."""

from mobilesam.bench.compare import compare
from mobilesam.bench.environment import describe_environment
from mobilesam.bench.stages import bench_image, bench_stages, write_sample

__all__ = ["bench_image", "bench_stages", "compare", "describe_environment", "write_sample"]
