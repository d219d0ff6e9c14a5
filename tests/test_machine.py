"""Peak memory in bytes, on every system."""

from __future__ import annotations

import sys
import types

import pytest

from sigah import machine


def test_peak_memory_grows_by_what_is_allocated() -> None:
    before = machine.peak_memory_bytes()
    assert before is not None
    block = bytearray(b"x") * (before + (200 << 20))  # more than was ever held
    peak = machine.peak_memory_bytes()
    assert peak is not None
    assert len(block) < peak < before + len(block) + (50 << 20)


@pytest.mark.parametrize(("system", "expected"), [("freebsd15", 7 << 10), ("darwin", 7)])
def test_macos_counts_in_bytes_and_bsd_in_kibibytes(
    system: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.Path, "exists", lambda path: False)
    resource = types.SimpleNamespace(
        RUSAGE_SELF=0, getrusage=lambda who: types.SimpleNamespace(ru_maxrss=7)
    )
    monkeypatch.setitem(sys.modules, "resource", resource)
    monkeypatch.setattr(sys, "platform", system)
    assert machine.peak_memory_bytes() == expected


def test_a_system_that_does_not_tell_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.Path, "exists", lambda path: False)
    monkeypatch.setitem(sys.modules, "resource", None)  # what an import finds, if there is none
    monkeypatch.setattr(sys, "platform", "plan9")
    assert machine.peak_memory_bytes() is None
