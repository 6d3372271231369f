"""The widget *Segment white blood cells*."""
