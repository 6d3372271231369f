"""A blood smear drawn by code, with exact truth."""
