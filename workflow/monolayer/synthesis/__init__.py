"""Synthetic images: scene and cutouts take images apart, policies say what lies where, composite puts it together."""
