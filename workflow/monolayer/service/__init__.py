"""Cells as a service: images in by HTTP, cells out as JSON, tables, label images, overlays; and a page for people."""
