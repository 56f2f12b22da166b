"""The YOLO family."""
