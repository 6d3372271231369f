"""Images of any size, in blocks, in memory that does not grow with them."""

from .run import BLOCK_SIZE, BlockDone, LargeRun, segment_large
from .saved import LargeResult, is_large_result

__all__ = ["BLOCK_SIZE", "BlockDone", "LargeResult", "LargeRun", "is_large_result", "segment_large"]
