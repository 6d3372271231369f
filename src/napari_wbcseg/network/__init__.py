"""The U-Net: architecture, loss, training, model files, engines. The only room that imports Keras."""
