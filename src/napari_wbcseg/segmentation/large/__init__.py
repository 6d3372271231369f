"""Images of any size, in blocks, in memory that does not grow with them."""
