"""Many files: segmented, reported, and done again only where something is missing."""
