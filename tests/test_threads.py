"""How many threads there are to use, and whether everything keeps to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from sigah import threads
from sigah.threads import available_threads, limit_threads, quota, threads_asked


def tree(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """A root directory with the files that the kernel shows."""
    for name, content in {"proc/self/cgroup": cgroup, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "5000 100000\n"}, 1),
        ("0::/a/b\n", {"sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        (  # the parent's quota is the smaller one
            "0::/a/b\n",
            {
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "800000 100000\n",
            },
            2,
        ),
        ("0::/host/only\n", {"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        (
            "4:cpu,cpuacct:/job\n1:name=systemd:/\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            "4:cpu:/\n",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ("4:memory:/job\n", {}, None),
        ("rubbish", {"sys/fs/cgroup/cpu.max": "two cores"}, None),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
    ],
)
def test_a_quota_is_read_from_the_control_groups(
    tmp_path: Path, cgroup: str, files: dict[str, str], expected: int | None
) -> None:
    assert quota(tree(tmp_path, cgroup, files)) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3), ("2,1", 2), (" 4 ,2", 4), ("", None), (None, None), ("0", None), ("all", None),
     ("2x", None), ("-1", None)],
)  # fmt: skip
def test_only_the_first_number_of_omp_num_threads_counts(
    text: str | None, expected: int | None
) -> None:
    assert threads_asked(text) == expected


def test_the_least_of_cores_quota_and_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "quota", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert available_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    assert available_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert available_threads() == 3


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_a_limit_holds_blas_and_torch_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = available_threads(), blas_threads(), torch.get_num_threads()
    with limit_threads(1) as n:
        assert (n, available_threads(), blas_threads(), torch.get_num_threads()) == (1, 1, {1}, 1)
        assert os.environ["OMP_NUM_THREADS"] == "1"  # for what is loaded later
        with pytest.raises(KeyError), limit_threads(2):
            assert available_threads() == torch.get_num_threads() == 2
            raise KeyError
        assert (available_threads(), blas_threads()) == (1, {1})
    assert (available_threads(), blas_threads(), torch.get_num_threads()) == before
    assert "OMP_NUM_THREADS" not in os.environ


def test_by_default_blas_is_held_to_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "quota", lambda: 1)
    with limit_threads():
        assert blas_threads() == {1}


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_a_limit_is_a_whole_number(n: object) -> None:
    with (
        pytest.raises(ValueError, match="threads must be a whole number of at least 1"),
        limit_threads(n),  # type: ignore[arg-type]
    ):
        pass


def test_a_library_that_is_loaded_within_a_limit_keeps_to_it() -> None:
    script = (
        "from sigah.threads import limit_threads\n"
        "with limit_threads(1):\n"
        "    import numpy, threadpoolctl, torch\n"
        "    counts = [pool['num_threads'] for pool in threadpoolctl.threadpool_info()]\n"
        "    print(set(counts), torch.get_num_threads())"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "{1} 1\n"
