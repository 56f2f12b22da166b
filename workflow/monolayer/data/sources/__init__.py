"""Where images and truth come from: one module a source, and what they share."""
