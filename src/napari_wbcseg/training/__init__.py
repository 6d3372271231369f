"""Training and fine-tuning, from the plan to the model file."""
