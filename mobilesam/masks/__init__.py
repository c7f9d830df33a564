"""Masks: from low-resolution logits to boundaries, boxes, regions and records."""
