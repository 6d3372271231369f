"""The widget *Review white blood cells*."""
