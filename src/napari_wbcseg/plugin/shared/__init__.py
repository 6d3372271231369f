"""What several widgets, readers and writers do with layers, their cells and files."""
