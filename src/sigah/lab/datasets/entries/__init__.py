"""The entries of the catalogue: one file a kind, one :class:`~sigah.lab.datasets.Dataset` a set."""
