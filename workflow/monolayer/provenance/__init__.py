"""What is known of how results came about: commits, records, the proof of them, runs that were killed."""
