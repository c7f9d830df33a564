"""Exported files in the programs of others, each run in an environment of its own."""
