"""What the cells of a time-lapse do: tracks, divisions and lineages, their files, and their scores."""
