"""Accuracy against ground truth: objects are prompted, and the predicted masks compared with the annotated ones."""

from mobilesam.evaluate.annotations import load_annotations
from mobilesam.evaluate.coco import Dataset, load_coco
from mobilesam.evaluate.evaluation import Evaluation, evaluate
from mobilesam.evaluate.runner import Settings

__all__ = ["Dataset", "Evaluation", "Settings", "evaluate", "load_annotations", "load_coco"]
