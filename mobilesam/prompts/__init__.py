"""Prompts: points, boxes and earlier masks, in Python and in files."""
