"""Prompts: points, boxes and mask inputs, as arrays and in files."""
