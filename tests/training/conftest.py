"""What the tests of the network and of its training share."""

from ..tiny_networks import library, pairs, tiny

__all__ = ["library", "pairs", "tiny"]
