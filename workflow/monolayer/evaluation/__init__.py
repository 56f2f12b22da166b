"""Results against truth: what is counted, how it is scored, and with what uncertainty."""
