"""Features computed from images, and the photographs that they are computed from."""
