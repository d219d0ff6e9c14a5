"""FAISS is installed with the development tools, so the flat index is tested by default."""

from __future__ import annotations

import pytest
from contract import EngineContract


class TestFlat(EngineContract):
    name = "faiss"
    module = "faiss"


@pytest.mark.engine
class TestIVF(EngineContract):
    name = "faiss"
    module = "faiss"
    settings = {"kind": "ivf", "probes": 10_000}
    filters = False


@pytest.mark.engine
class TestHNSW(EngineContract):
    name = "faiss"
    module = "faiss"
    settings = {"kind": "hnsw", "expansion": 256}
    recall = 0.9
    replaces = False
