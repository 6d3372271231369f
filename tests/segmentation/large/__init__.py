"""Specification of segmentation in blocks."""
