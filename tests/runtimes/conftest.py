"""These tests run with ``make test-runtimes``, in an environment that has the runtime."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("ai_edge_litert") else ["test_litert.py"]
