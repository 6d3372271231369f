"""The widget *White blood cell models*."""
