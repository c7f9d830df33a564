"""Masks: upsampled logits, run-length encodings, boxes, regions and records."""
