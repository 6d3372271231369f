"""From an image to labelled, measured white blood cells."""
