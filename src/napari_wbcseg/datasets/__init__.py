"""Images with their truth: folders, SigTuple, boxes, corrections, downloads."""
