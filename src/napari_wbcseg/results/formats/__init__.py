"""The formats of a result, one module each."""
