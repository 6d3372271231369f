"""What several widgets, readers and writers use."""
