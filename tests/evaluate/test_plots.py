"""The plots of an evaluation and of a benchmark, and the table."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from mobilesam.bench.figures import COLORS, figure
from mobilesam.bench.stages import plot_stages
from mobilesam.errors import MissingDependencyError
from mobilesam.evaluate import Dataset, Evaluation, Settings, evaluate, load_coco
from mobilesam.evaluate.plots import click_curve, iou_histograms, lowest_ious, write_plots
from mobilesam.evaluate.report import to_markdown
from mobilesam.visualize import palette
from tests.evaluate.scenes import BrightnessPredictor, compressed, disc, write_coco

HW = (90, 120)
DISCS = [disc(HW, (30, 45), 20), disc(HW, (85, 40), 14), disc(HW, (100, 80), 5)]
SCENE = np.repeat(np.where(np.logical_or.reduce(DISCS), 230, 20).astype(np.uint8)[..., None], 3, axis=2)
ALL = Settings(("box", "point", "clicks"), max_clicks=3)


def scene(folder: Path, name: str = "a.png") -> tuple[Dataset, Evaluation]:
    annotations = [{"image_id": name, "segmentation": compressed(mask)} for mask in DISCS]
    path = write_coco(folder, {name: SCENE}, annotations)
    dataset = load_coco(path, folder)
    return dataset, evaluate(BrightnessPredictor(), dataset, ALL)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def count(pixels: np.ndarray, color: tuple[int, ...] | str) -> int:
    wanted = tuple(bytes.fromhex(color[1:])) if isinstance(color, str) else color
    return int((np.abs(pixels - np.array(wanted)).max(axis=-1) < 12).sum())


def test_the_colors_are_those_of_the_masks() -> None:
    assert [tuple(bytes.fromhex(color[1:])) for color in COLORS] == [tuple(row) for row in palette(6).tolist()]


def test_a_figure_is_written_twice_with_equal_bytes_and_no_date(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        with figure(tmp_path / name, 4, 3) as drawn:
            axes = drawn.subplots()
            axes.bar([0, 1], [2, 1])
            axes.set(title="bars", xlabel="x")
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "one.svg").read_bytes()
    pixels = pixels_of(tmp_path / "one.png")
    assert pixels.shape == (450, 600, 3)
    assert (pixels[0, 0] == 255).all(), "the ground is white"
    assert count(pixels, COLORS[0]) > 10000
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == []


def test_a_figure_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), figure(tmp_path / "one"):
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_histograms_have_a_panel_for_each_prompt_and_count_every_instance(tmp_path: Path) -> None:
    _, evaluation = scene(tmp_path)
    iou_histograms(tmp_path / "ious", evaluation.records, ALL.prompts)
    panels = np.array_split(pixels_of(tmp_path / "ious.png"), 3)
    for panel, color in zip(panels, COLORS, strict=False):
        assert count(panel, color) > 1000
        assert sum(count(panel, other) > 1000 for other in COLORS) == 1


def test_the_click_curve_is_drawn(tmp_path: Path) -> None:
    _, evaluation = scene(tmp_path)
    click_curve(tmp_path / "clicks", evaluation.records, 3)
    assert count(pixels_of(tmp_path / "clicks.png"), COLORS[0]) > 400


def test_the_lowest_ious_come_first(tmp_path: Path) -> None:
    dataset, evaluation = scene(tmp_path)
    for number in (1, 2):
        lowest_ious(tmp_path / f"{number}", evaluation.records, dataset, "point", count=number, columns=number)
    single, double = (pixels_of(tmp_path / f"{number}.png") for number in (1, 2))
    assert double.shape[0] == single.shape[0]
    assert abs(double.shape[1] - 2 * single.shape[1]) <= 1
    # The smallest disc is worst, because the prediction is everything bright: it is clicked in both, and drawn white.
    for pixels in (single, double[:, : single.shape[1]]):
        assert count(pixels[200:], (24, 160, 88)) > 20, "the foreground click"
        assert count(pixels[200:], (20, 20, 20)) > 10000, "the image"


def test_every_plot_is_written_as_svg_and_png(tmp_path: Path) -> None:
    name = "mi$sing {brace} \u5bfa.png"  # no formula, and no glyph in matplotlib's font
    dataset, evaluation = scene(tmp_path / "data", name)
    (tmp_path / "out").mkdir()
    write_plots(tmp_path / "out", evaluation, dataset)
    stems = ("iou-histogram", "clicks", "worst-box", "worst-point", "worst-clicks")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{stem}{suffix}" for stem in stems for suffix in (".svg", ".png")
    }


def test_a_benchmark_has_a_dot_for_each_run(tmp_path: Path) -> None:
    stages = {"encode": {"values": [0.5, 0.6], "median": 0.55}, "decode": {"values": [0.01, 0.02], "median": 0.015}}
    plot_stages(tmp_path / "bench", "title", stages)
    pixels = pixels_of(tmp_path / "bench.png")
    assert sum(count(rows, (177, 216, 255)) > 50 for rows in np.array_split(pixels, 8)) >= 2


def test_plots_without_matplotlib_name_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, evaluation = scene(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: write_plots(tmp_path, evaluation, dataset), lambda: plot_stages(tmp_path / "plot", "", {})):
        with pytest.raises(
            MissingDependencyError,
            match=r'^drawing plots needs matplotlib, .* pip install "matplotlib>=[\d.]+"$',
        ):
            draw()


def test_the_table_shows_the_measurements(tmp_path: Path) -> None:
    text = to_markdown(scene(tmp_path)[1].summary)
    assert text.startswith("3 instances on 1 images\n")
    assert "| box | 3 | 1.0000 |" in text
    assert "| up to 3 | 2.00 | 2.00 | 100 % | 100 % |" in text
    assert "| set_image | 1 |" in text
    assert all(line.count("|") == text.splitlines()[2].count("|") for line in text.splitlines()[2:7])
