"""SAM's larger networks beside PyPI's segment-anything 1.0: results, time and memory, on random weights.

The weights of the image encoder are random, and those of the decoder MobileSAM's, which are SAM's. In an environment
with segment-anything 1.0, torch, torchvision and this checkout:

    python -m benchmarks.sam_networks IMAGE vit_b vit_l vit_h
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("segment_anything", "mobilesam")
_TURNS = 3
_POINTS_PER_SIDE = 16


def main() -> None:
    """Run each package in a process of its own for each network, and print what they give."""
    image, *networks = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            checkpoint = Path(folder) / f"{network}.pt"
            _write(network, checkpoint)
            results = [_in_process(package, network, checkpoint, image) for package in PACKAGES]
            embeddings = [np.load(result.pop("embedding")) for result in results]
            error = float(np.abs(embeddings[0] - embeddings[1]).max() / np.abs(embeddings[0]).max())
            print(f"{network}: embeddings differ by {error:.1e} of the largest value")
            for package, result in zip(PACKAGES, results, strict=True):
                print(f"  {package}: {json.dumps(result)}", flush=True)
            checkpoint.unlink()


def _write(network: str, path: Path) -> None:
    """Write a checkpoint, with random position embeddings, which are zeros in an untrained network."""
    import torch

    import mobilesam

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    sam = mobilesam.sam_model_registry[network]()
    for name, value in sam.image_encoder.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(value, std=0.3)
    trained = mobilesam.load(backend="torch", device="cpu").sam
    sam.prompt_encoder.load_state_dict(trained.prompt_encoder.state_dict())
    sam.mask_decoder.load_state_dict(trained.mask_decoder.state_dict())
    torch.save(sam.state_dict(), path)


def _in_process(package: str, network: str, checkpoint: Path, image: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.sam_networks"]
    environment = {**os.environ, "NETWORK_PACKAGE": package}
    run = subprocess.run(
        [*command, network, checkpoint, image], check=True, capture_output=True, text=True, env=environment
    )
    return json.loads(run.stdout.splitlines()[-1])


def measure(package: str, network: str, checkpoint: str, path: str) -> None:
    """Print the times, in seconds, and the most memory of this process, in MB."""
    import importlib
    import resource

    from PIL import Image

    module = importlib.import_module(package)
    image = np.array(Image.open(path).convert("RGB"))
    started = time.perf_counter()
    sam = module.sam_model_registry[network](checkpoint=checkpoint)
    predictor = module.SamPredictor(sam)
    result: dict[str, Any] = {"load": time.perf_counter() - started}
    times = []
    for _ in range(_TURNS):
        started = time.perf_counter()
        predictor.set_image(image)
        times.append(time.perf_counter() - started)
    result["encode"] = float(np.median(times))
    embedding = predictor.get_image_embedding().detach().numpy()
    path = f"{checkpoint}.{package}.npy"
    np.save(path, embedding)
    generator = module.SamAutomaticMaskGenerator(sam, points_per_side=_POINTS_PER_SIDE)
    started = time.perf_counter()
    result["masks"] = len(generator.generate(image))
    result["decode"] = time.perf_counter() - started - result["encode"]
    result = {key: round(value, 2) for key, value in result.items()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result | {"memory": memory, "embedding": path}))


if __name__ == "__main__":
    if "NETWORK_PACKAGE" in os.environ:
        measure(os.environ["NETWORK_PACKAGE"], *sys.argv[1:])
    else:
        main()
