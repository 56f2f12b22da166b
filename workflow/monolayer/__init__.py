"""monolayer: from images of a cell culture to segmentation models, tables, engines and a report."""
