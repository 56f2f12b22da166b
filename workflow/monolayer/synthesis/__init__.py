"""Synthetic images: scene and cutouts take images apart, laws say what to place where, collage puts it together."""
