"""Accuracy against ground truth: prompts made from masks, answers compared with them."""

from mobilesam.evaluate.coco import Dataset, load_coco
from mobilesam.evaluate.evaluation import Evaluation, evaluate
from mobilesam.evaluate.runner import Settings

__all__ = ["Dataset", "Evaluation", "Settings", "evaluate", "load_coco"]
