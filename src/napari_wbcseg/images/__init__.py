"""Image files and arrays of any kind, brought to one scale."""
