"""Truth and results as COCO has them, and the forms that a mask takes."""
