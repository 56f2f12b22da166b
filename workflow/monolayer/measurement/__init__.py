"""What a biologist measures of cells, and the files that other programs open."""
