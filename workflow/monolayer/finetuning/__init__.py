"""Which images to annotate next, so that a model learns most of them."""
