"""Which images to annotate next, and drafts of their masks."""
