"""Where images and truth come from: files, SigTuple, downloads, synthetic smears, augmentation, tiling."""
