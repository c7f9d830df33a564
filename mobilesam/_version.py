"""The version of the package, in a separate module that a build reads without importing the package."""

__version__ = "0.1.0"
