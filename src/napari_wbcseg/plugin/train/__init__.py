"""The widget *Train WBC model*."""
