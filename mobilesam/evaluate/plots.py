"""Images of a run: how the IoUs spread, what clicks bring, and the cases that went worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mobilesam.arrays import BoolArray, UInt8Array
from mobilesam.evaluate.charts import INK, MUTED, RGB, Chart, font
from mobilesam.evaluate.coco import Dataset, read_instances
from mobilesam.evaluate.journal import Record
from mobilesam.evaluate.report import CLICK_TARGETS
from mobilesam.evaluate.rle import tight_box
from mobilesam.files import atomic_path
from mobilesam.formats.segmentation import decode_segmentation
from mobilesam.image.read import read_image
from mobilesam.visualize import overlay, palette

BIN_WIDTH = 0.05
TILE_HW = (300, 400)
CAPTION_HEIGHT = 44
GAP = 8
WORST = 12


def iou_histograms(records: Sequence[Record], kinds: Sequence[str]) -> UInt8Array:
    """Return the share of instances in each twentieth of IoU, a panel for each kind of prompt, one below the other."""
    panels = []
    for number, kind in enumerate(kinds):
        ious = np.array([final_iou(instance[kind]) for record in records for instance in record["instances"]])
        edges = np.arange(0, 1 + BIN_WIDTH / 2, BIN_WIDTH)
        shares = 100 * np.histogram(ious, edges)[0] / max(1, len(ious))
        top = 10 * max(1.0, float(np.ceil(shares.max() / 10)))
        chart = Chart(f"{kind}: mean IoU {ious.mean():.3f}, median {np.median(ious):.3f}, n = {len(ious)}",
                      (0, 1), (0, top), "IoU", "% of instances")  # fmt: skip
        chart.y_ticks(np.arange(0, top + 1, 10).tolist())
        chart.x_ticks(np.arange(0, 1.01, 0.2).tolist(), "{:.1f}")
        for low, share in zip(edges[:-1], shares, strict=True):
            chart.bar(low, low + BIN_WIDTH, float(share), _color(number))
        chart.line([(float(ious.mean()), 0), (float(ious.mean()), top)], INK, 1.5)
        panels.append(chart.render())
    return np.concatenate(panels)


def click_curve(records: Sequence[Record], max_clicks: int) -> UInt8Array:
    """Return the mean IoU after each click with the middle half of the instances as a band."""
    series = [instance["clicks"]["ious"] for record in records for instance in record["instances"]]
    filled = np.array([ious + [ious[-1]] * (max_clicks - len(ious)) for ious in series])
    steps = list(range(1, max_clicks + 1))
    chart = Chart(f"IoU after each click, n = {len(series)}", (0.5, max_clicks + 0.5), (0, 1),
                  "clicks (a series that reached the stopping IoU keeps its last value)", "IoU")  # fmt: skip
    chart.y_ticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], "{:.1f}")
    chart.x_ticks(steps)
    for target in CLICK_TARGETS:
        chart.line([(0.5, target), (max_clicks + 0.5, target)], MUTED, 1)
    q1, q3 = np.percentile(filled, [25, 75], axis=0)
    chart.band(steps, q1.tolist(), q3.tolist(), _color(0))
    mean = filled.mean(axis=0)
    chart.line(list(zip(steps, mean.tolist(), strict=True)), _color(0), 2.5, dots=4)
    for step in (1, min(3, max_clicks), max_clicks):
        chart.text((step, float(mean[step - 1])), f"{mean[step - 1]:.3f}", 13, INK, "mt", dy=10)
    return chart.render()


def contact_sheet(
    records: Sequence[Record], dataset: Dataset, kind: str, count: int = WORST, columns: int = 3
) -> UInt8Array:
    """Return the ``count`` instances with the lowest IoU as tiles: answer filled, truth outlined in white, prompt."""
    cases = [
        (final_iou(instance[kind]), record, place)
        for record in records
        for place, instance in enumerate(record["instances"])
    ]
    worst = sorted(cases, key=lambda case: (case[0], case[1]["file_name"], case[2]))[:count]
    images = {entry.file_name: entry for entry in dataset.images}
    tiles = []
    for _, record, place in worst:
        entry = images[record["file_name"]]
        image = read_image(entry.path)
        truth = read_instances(entry, (image.shape[0], image.shape[1]), dataset.categories)[0][place].mask
        tiles.append(_tile(image, truth, record, record["instances"][place], kind))
    blank = np.full((TILE_HW[0] + CAPTION_HEIGHT, TILE_HW[1], 3), 255, np.uint8)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)]
    title = f"The {len(worst)} lowest IoUs of {len(cases)}, prompted by {kind}. Blue: the answer. White: the truth."
    return np.concatenate([_heading(title, columns * TILE_HW[1]), *rows])


def final_iou(answer: Record) -> float:
    """Return the IoU of an answer, for clicks that after the last one."""
    return float(answer["iou"] if "iou" in answer else answer["ious"][-1])


def _tile(image: UInt8Array, truth: BoolArray, record: Record, instance: Record, kind: str) -> UInt8Array:
    answer = instance[kind]
    height, width = truth.shape
    prediction = decode_segmentation({"size": [height, width], "counts": answer["rle"]}, (height, width))
    left, top, right, bottom = _window(truth | prediction)
    scale = min((TILE_HW[1] - GAP) / (right - left), (TILE_HW[0] - GAP) / (bottom - top))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))

    def shown(pixels: npt.NDArray[Any], interpolation: int) -> npt.NDArray[Any]:
        return cv2.resize(np.ascontiguousarray(pixels[top:bottom, left:right]), size, interpolation=interpolation)

    masks = [shown(mask.astype(np.uint8), cv2.INTER_NEAREST).astype(bool) for mask in (prediction, truth)]
    points = np.array(answer.get("points", []), dtype=np.float64).reshape(-1, 3)
    drawn = overlay(
        shown(image, cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC),
        masks[:1],
        point_coords=(points[:, :2] - (left, top) + 0.5) * scale,
        point_labels=points[:, 2],
        boxes=(np.array(answer.get("box", []), dtype=np.float64).reshape(-1, 4) - (left, top, left, top)) * scale,
    )
    contours, _ = cv2.findContours(masks[1].astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.polylines(drawn, contours, True, INK, 4, cv2.LINE_AA)
    cv2.polylines(drawn, contours, True, (255, 255, 255), 2, cv2.LINE_AA)

    tile = Image.new("RGB", (TILE_HW[1], TILE_HW[0] + CAPTION_HEIGHT), "white")
    tile.paste(Image.fromarray(drawn), ((TILE_HW[1] - size[0]) // 2, (TILE_HW[0] - size[1]) // 2))
    draw = ImageDraw.Draw(tile)
    predicted = f", predicted {answer['predicted'][answer['chosen']]:.2f}" if "predicted" in answer else ""
    draw.text((GAP, TILE_HW[0]), f"IoU {final_iou(answer):.2f}{predicted}", fill=INK, font=font(15))
    about = f"{instance['category']} {instance['annotation_id']}, {record['file_name']}"
    draw.text((GAP, TILE_HW[0] + 19), _shorten(about, 54), fill=MUTED, font=font(12))
    return np.asarray(tile)


def _heading(text: str, width: int) -> UInt8Array:
    strip = Image.new("RGB", (width, 40), "white")
    ImageDraw.Draw(strip).text((GAP, 10), text, fill=INK, font=font(17))
    return np.asarray(strip)


def _window(region: BoolArray) -> tuple[int, int, int, int]:
    """Return x1 y1 x2 y2 around a region with what lies about it, shaped as a tile where the image allows it."""
    height, width = region.shape
    left, top, right, bottom = tight_box(region).astype(int).tolist()
    tile_height, tile_width = TILE_HW
    side = max(96, 1.6 * (bottom - top), 1.6 * (right - left) * tile_height / tile_width)
    reach_y, reach_x = round(side / 2), round(side * tile_width / tile_height / 2)
    x, y = (left + right) // 2, (top + bottom) // 2
    return max(0, x - reach_x), max(0, y - reach_y), min(width, x + reach_x), min(height, y + reach_y)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _color(index: int) -> RGB:
    red, green, blue = palette(index + 1)[index].tolist()
    return red, green, blue


def save(pixels: UInt8Array, path: Path) -> None:
    """Write an image as PNG, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary)
