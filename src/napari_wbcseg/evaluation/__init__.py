"""How good a model is, on cells whose truth is known."""
