"""From weights to the graphs of a bundle."""
