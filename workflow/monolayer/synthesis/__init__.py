"""Synthetic images: scene and cutouts take images apart, policies say what to place where, composite puts it together."""
