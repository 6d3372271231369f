"""Images of any size, in blocks, in memory that does not grow with them."""

from .run import BLOCK_SIZE, BlockDone, LargeRun, segment_large
from .saved import LargeResult

__all__ = ["BLOCK_SIZE", "BlockDone", "LargeResult", "LargeRun", "segment_large"]
