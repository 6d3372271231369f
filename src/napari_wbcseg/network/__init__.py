"""The U-Net: architecture, loss, training, model files, prediction engines. The only room that imports Keras."""
