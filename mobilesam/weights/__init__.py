"""Weights: where they come from, and the files that hold them."""

from mobilesam.weights.store import DEFAULT, Store, default_store, ensure, fetch, find, folder, is_listed, names, verify

__all__ = ["DEFAULT", "Store", "default_store", "ensure", "fetch", "find", "folder", "is_listed", "names", "verify"]
