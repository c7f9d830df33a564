from pathlib import Path

import numpy as np

from mobilesam.evaluate import Settings, evaluate, load_coco
from mobilesam.evaluate.charts import INK, Chart
from mobilesam.evaluate.plots import CAPTION_HEIGHT, TILE_HW, click_curve, contact_sheet, iou_histograms
from mobilesam.evaluate.report import to_markdown
from mobilesam.visualize import palette
from tests.evaluate.scenes import BrightnessPredictor, compressed, disc, write_coco

HW = (90, 120)
DISCS = [disc(HW, (30, 45), 20), disc(HW, (85, 40), 14), disc(HW, (100, 80), 5)]
SCENE = np.repeat(np.where(np.logical_or.reduce(DISCS), 230, 20).astype(np.uint8)[..., None], 3, axis=2)
ALL = Settings(("box", "point", "clicks"), max_clicks=3)


def scene(tmp_path: Path):
    annotations = [{"image_id": "a.png", "segmentation": compressed(mask)} for mask in DISCS]
    path = write_coco(tmp_path, {"a.png": SCENE}, annotations)
    dataset = load_coco(path, tmp_path)
    return dataset, evaluate(BrightnessPredictor(), dataset, ALL)


def has_color(pixels: np.ndarray, color: tuple[int, ...]) -> int:
    return int((np.abs(pixels.astype(int) - np.array(color)).max(axis=-1) < 12).sum())


def test_a_chart_puts_data_where_it_belongs() -> None:
    chart = Chart("title", (0, 10), (0, 1), "x", "y", size=(400, 300))
    chart.bar(5, 6, 0.5, (200, 0, 0))
    rows, columns = np.nonzero(np.abs(chart.render().astype(int) - (200, 0, 0)).max(axis=-1) < 60)
    left, right, top, bottom = 62, 400 - 24, 52, 300 - 52  # the plot area of the class
    assert abs(columns.min() - (left + 0.5 * (right - left))) <= 3
    assert abs(columns.max() - (left + 0.6 * (right - left))) <= 3
    assert abs(rows.min() - (top + bottom) / 2) <= 3
    assert abs(rows.max() - bottom) <= 3


def test_histograms_have_a_panel_a_prompt_and_a_mean(tmp_path: Path) -> None:
    _, found = scene(tmp_path)
    pixels = iou_histograms(found.records, ALL.prompts)
    panels = np.split(pixels, 3)
    assert all(has_color(panel, INK) > 100 for panel in panels)
    for panel, color in zip(panels, palette(3).tolist(), strict=True):
        assert has_color(panel, color) > 1000


def test_the_click_curve_is_drawn(tmp_path: Path) -> None:
    _, found = scene(tmp_path)
    assert has_color(click_curve(found.records, 3), tuple(palette(1)[0].tolist())) > 400


def test_the_contact_sheet_shows_the_worst_first(tmp_path: Path) -> None:
    dataset, found = scene(tmp_path)
    sheet = contact_sheet(found.records, dataset, "point", count=2, columns=2)
    height, width = TILE_HW[0] + CAPTION_HEIGHT, TILE_HW[1]
    assert sheet.shape == (40 + height, 2 * width, 3)
    small = contact_sheet(found.records, dataset, "point", count=1, columns=1)
    np.testing.assert_array_equal(small[40:], sheet[40:, :width])
    # The smallest disc is worst, since everything bright was answered; truth is outlined in white on its dark ground.
    assert has_color(sheet[40 : 40 + TILE_HW[0], :width], (255, 255, 255)) > 100
    for kind in ("box", "clicks"):
        assert contact_sheet(found.records, dataset, kind).shape == (40 + height, 3 * width, 3)


def test_the_table_shows_what_was_measured(tmp_path: Path) -> None:
    text = to_markdown(scene(tmp_path)[1].summary)
    assert text.startswith("3 instances on 1 images\n")
    assert "| box | 3 | 1.0000 |" in text
    assert "| up to 3 | 2.00 | 2.00 | 100 % | 100 % |" in text
    assert "| set_image | 1 |" in text
    assert all(line.count("|") == text.splitlines()[2].count("|") for line in text.splitlines()[2:7])
