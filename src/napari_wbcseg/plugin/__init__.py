"""What napari calls. The only room that imports napari and Qt."""
