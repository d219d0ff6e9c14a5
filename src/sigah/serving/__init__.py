"""An index that is served: it is changed while it answers, and gets a new model meanwhile."""

from __future__ import annotations

from sigah.serving.deployment import Deployment
from sigah.serving.generation import Generation

__all__ = ["Deployment", "Generation"]
