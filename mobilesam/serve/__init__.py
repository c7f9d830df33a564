"""Masks for other programs and for the page: an engine with queues and caches, a REST server, and its client."""
