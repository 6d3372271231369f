"""What the widgets are laid out with: panels and their parts, forms, lists, plots."""
