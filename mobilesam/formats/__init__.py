"""Writers and readers of what other tools use; one module a format family."""

from mobilesam._moved import moved
from mobilesam.formats.coco import coco_dataset, read_coco, read_coco_prompts, write_coco
from mobilesam.formats.csv import write_csv
from mobilesam.formats.geojson import geojson_collection, read_geojson, write_geojson
from mobilesam.formats.labelme import labelme_document, read_labelme, write_labelme
from mobilesam.formats.masked_image import MaskedImage
from mobilesam.formats.parquet import read_parquet, write_parquet
from mobilesam.formats.png import (
    read_map,
    read_mask,
    write_cutout,
    write_image,
    write_indexed,
    write_instances,
    write_mask,
)
from mobilesam.formats.yolo import read_yolo, write_yolo, write_yolo_names, yolo_labels

__all__ = [
    "MaskedImage",
    "coco_dataset",
    "geojson_collection",
    "labelme_document",
    "read_coco",
    "read_coco_prompts",
    "read_geojson",
    "read_labelme",
    "read_map",
    "read_mask",
    "read_parquet",
    "read_yolo",
    "write_coco",
    "write_csv",
    "write_cutout",
    "write_geojson",
    "write_image",
    "write_indexed",
    "write_instances",
    "write_labelme",
    "write_mask",
    "write_parquet",
    "write_yolo",
    "write_yolo_names",
    "yolo_labels",
]

__getattr__ = moved(__name__, {"MaskedPicture": "mobilesam.formats.MaskedImage"})
