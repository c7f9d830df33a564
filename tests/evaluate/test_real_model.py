"""An evaluation with the real network, on coins whose masks are made by watershed."""

from pathlib import Path
from typing import Any

import pytest

from mobilesam import SamPredictor, load
from mobilesam.errors import InputError
from mobilesam.evaluate import Settings, evaluate, load_coco
from tests.evaluate.scenes import coins, compressed, polygons, uncompressed, write_coco
from tests.photos import photo
from tests.shared_models import encode_once

pytestmark = [pytest.mark.torch, pytest.mark.weights]


@pytest.fixture(scope="module")
def model() -> Any:
    return encode_once(load(backend="torch", device="cpu"))


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    forms = (compressed, uncompressed, polygons)
    annotations = [
        {"image_id": "coins.png", "segmentation": forms[place % 3](mask)} for place, mask in enumerate(coins()[:6])
    ]
    return write_coco(tmp_path_factory.mktemp("coins"), {"coins.png": photo("coins")}, annotations)


def test_coins_are_found(model: Any, annotations: Path) -> None:
    dataset = load_coco(annotations, annotations.parent)
    evaluation = evaluate(model, dataset, Settings(("box", "point", "clicks"), all_masks=True))
    assert evaluation.summary["instances"] == 6
    assert evaluation.mean_iou("box") > 0.9
    assert evaluation.mean_iou("clicks") > 0.9
    assert evaluation.summary["prompts"]["box"]["boundary_iou"] > 0.8
    assert evaluation.summary["prompts"]["point"]["oracle_iou"] >= evaluation.mean_iou("point")
    seconds = evaluation.summary["seconds"]
    assert list(seconds) == ["read", "resize", "encode", "decode", "upsample"]
    clicks = sum(len(instance["clicks"]["ious"]) - 1 for instance in evaluation.records[0]["instances"])
    assert seconds["decode"]["calls"] == seconds["upsample"]["calls"] == 12 + clicks
    assert seconds["encode"]["total"] > 3 * seconds["decode"]["median"]


def test_timing_the_stages_does_not_change_the_results(model: Any, annotations: Path) -> None:
    dataset = load_coco(annotations, annotations.parent)
    staged, plain = evaluate(model, dataset), evaluate(SamPredictor(model), dataset)
    assert staged.records[0]["instances"] == plain.records[0]["instances"]
    assert list(plain.summary["seconds"]) == ["read", "set_image", "predict"]


def test_fast_padding_is_passed_on_and_refused_where_it_cannot_be(model: Any, annotations: Path) -> None:
    dataset = load_coco(annotations, annotations.parent)
    exact, fast = (evaluate(model, dataset, Settings(("box",)), fast_padding=wanted) for wanted in (False, True))
    assert fast.mean_iou("box") == pytest.approx(exact.mean_iou("box"), abs=0.01)
    assert fast.records[0]["instances"] != exact.records[0]["instances"]
    with pytest.raises(InputError, match="fast_padding must come with a model of this package, got SamPredictor"):
        evaluate(SamPredictor(model), dataset, fast_padding=True)
