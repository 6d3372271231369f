"""The version of this package: files and messages state it."""

__version__ = "0.1.0"
