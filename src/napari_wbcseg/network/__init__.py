"""The U-Net: architecture, model files and the engines that run it."""
