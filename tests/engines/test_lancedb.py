from __future__ import annotations

import pytest
from contract import EngineContract

pytestmark = pytest.mark.engine


class TestFlat(EngineContract):
    name = "lancedb"
    module = "lancedb"


class TestIVF(EngineContract):
    name = "lancedb"
    module = "lancedb"
    settings = {"kind": "ivf", "probes": 10_000}
