from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SECONDS = 240  # a test may take; with two free cores none takes 30
OBJECT_STORE_BYTES = 200_000_000


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """A cluster that waits for what never comes fails the test, and does not hang it."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """Ray on this machine with two cores, as `sigah.distributed` starts it, for all tests."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
    )
    yield ray
    ray.shutdown()


@pytest.fixture
def write_parquet(tmp_path: Path) -> Any:
    """Write vectors with ids to a Parquet file and return its path."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")

    def write(
        X: NDArray[Any],
        ids: Any = None,
        *,
        name: str = "vectors.parquet",
        rows: int = 1000,
        fixed: bool = True,
    ) -> Path:
        values = pa.array(X.ravel())
        if fixed:
            column = pa.FixedSizeListArray.from_arrays(values, X.shape[1])
        else:
            ends = np.arange(len(X) + 1, dtype=np.int32) * X.shape[1]
            column = pa.ListArray.from_arrays(ends, values)
        keys = np.arange(len(X)) if ids is None else ids
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": keys, "vector": column}), path, row_group_size=rows)
        return path

    return write
