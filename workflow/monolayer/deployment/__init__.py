"""Runs as files that need no training code, held against torch, and how fast they are."""
