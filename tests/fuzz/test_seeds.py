"""The inputs from which fuzzing starts, and those that once broke a reader: none does now."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzzed_readers import READERS, read

SEEDS = Path(__file__).parent / "seeds"
FILES = sorted(file for file in SEEDS.rglob("*") if file.is_file())


@pytest.mark.parametrize("seed", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_a_seed_is_read_or_refused(seed: Path, tmp_path: Path) -> None:
    said = read(seed.parent.name, seed.read_bytes(), tmp_path)
    assert (said == "") == seed.name.startswith("sound"), said


@pytest.mark.parametrize("reader", READERS)
def test_damaged_seeds_are_read_or_refused(reader: str, tmp_path: Path) -> None:
    """A short, blind form of `make fuzz`."""
    draw = random.Random(reader)
    seeds = [file.read_bytes() for file in FILES if file.parent.name == reader]
    assert seeds
    for _ in range(60):
        content = bytearray(draw.choice(seeds))
        for _ in range(draw.choice([1, 1, 2, 8])):
            place = draw.randrange(len(content) + 1)
            if draw.random() < 0.3:
                del content[place : place + draw.choice([1, 4, 50])]
            elif draw.random() < 0.3:
                content[place:place] = draw.randbytes(draw.choice([1, 4, 50]))
            else:
                content[place : place + 1] = draw.choice([b"\0", b"\xff", b"-", b"9", b"["])
        read(reader, bytes(content), tmp_path)
