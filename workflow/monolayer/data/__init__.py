"""From a source to checked, split images with truth."""
