"""Segment anything in a picture, on a laptop."""

from mobilesam._version import __version__ as __version__
