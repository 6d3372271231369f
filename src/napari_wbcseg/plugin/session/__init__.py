"""The widget *White blood cell session*."""
