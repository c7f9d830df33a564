"""segment-geospatial 1.4: its predictor, its generator and its point prompts on a GeoTIFF, with both packages.

In an environment with segment-geospatial, mobilesam-mirror 1.0.0, torch, torchvision, timm and this checkout:

    python -m benchmarks.clients.samgeo_rasters CHECKPOINT.pt IMAGE
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.clients.both import Masks, compare


def run(checkpoint: str, path: str) -> Masks:
    """Return masks of samgeo: everything as a label map, a predicted point, and a box in degrees."""
    import imageio.v3 as imageio
    import rasterio
    from rasterio.transform import from_bounds
    from samgeo import SamGeo, SamGeoPredictor

    folder = Path(tempfile.mkdtemp())
    image = imageio.imread(path)[..., :3]
    height, width = image.shape[:2]
    raster, labels, point = (str(folder / f"{name}.tif") for name in ("image", "labels", "point"))
    west, south, east, north = 10.0, 50.0, 10.01, 50.01
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(raster, "w", transform=from_bounds(west, south, east, north, width, height), **profile) as file:
        file.write(image.transpose(2, 0, 1))

    options = {"model_type": "vit_t", "checkpoint": checkpoint, "device": "cpu"}
    everything = SamGeo(**options, sam_kwargs={"points_per_side": 10, "min_mask_region_area": 30})
    prompted = SamGeo(**options, automatic=False)
    for each in (everything, prompted):
        each.sam.eval()  # again: mobile_sam caches attention biases in eval(), which it calls before loading
    everything.generate(raster, labels)
    prompted.set_image(raster)
    prompted.predict([[width // 2, height // 2]], point_labels=1, output=point)
    predictor = SamGeoPredictor(everything.sam)
    predictor.set_image(image)
    box = [west + (east - west) * 0.2, south + (north - south) * 0.2, west + (east - west) * 0.8, north - 0.002]
    in_degrees, _, _ = predictor.predict(raster, geo_box=box, multimask_output=False)
    with rasterio.open(labels) as file, rasterio.open(point) as other:
        maps = {"everything": file.read(1), "a point": other.read(1) > 0}
    return maps | {"a box in degrees": np.asarray(in_degrees[0])}


if __name__ == "__main__":
    compare("benchmarks.clients.samgeo_rasters", run)
