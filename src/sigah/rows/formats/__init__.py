"""Formats of vector files: one family, one file; each is read as hostile input."""
