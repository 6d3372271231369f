"""What runs a network to predict."""
