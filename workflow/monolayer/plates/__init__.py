"""Plates: from what a microscope wrote to tables of cells, growth curves and a page, in shards of any size."""
