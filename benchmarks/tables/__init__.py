"""The tables of the documentation, made of the committed JSON: a page a file."""
