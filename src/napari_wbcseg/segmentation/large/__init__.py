"""Images of any size, in tiles, in memory that does not grow with them."""
