"""Training samples composed from real cells, in any stain."""
