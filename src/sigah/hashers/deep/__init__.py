"""Unsupervised deep hashing on feature vectors and on pixels: one paper, one file.

Each method learns a small network, the *head*, on features of a fixed backbone, or on any vectors.
``heads.py`` encodes with NumPy alone, ``training.py`` is the one training loop (torch), and
``pairs.py`` holds the losses and neurons that several papers share. Methods on pixels share the
network of ``pixels.py`` (NumPy) and ``trunk.py`` (torch).
"""

from __future__ import annotations

__all__: list[str] = []
