"""The entries of the catalogue: one file a kind, one :class:`~sigah.datasets.Dataset` a set."""
