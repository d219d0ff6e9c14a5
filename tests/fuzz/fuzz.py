"""Coverage-guided fuzzing of one reader (Atheris): ``python tests/fuzz/fuzz.py READER SECONDS``.

``make fuzz`` runs it for every reader in turn. Inputs that reach new code are kept in a folder of
work, beginning with the seeds; an input that breaks a reader is written to ``crash-...`` there.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent

with atheris.instrument_imports(include=["sigah", "numpy.lib", "zipfile", "csv", "gzip"]):
    sys.path.insert(0, str(HERE))
    import fuzzed_readers


def main(reader: str, seconds: str, work: str) -> None:
    """Fuzz a reader for a while, from its seeds."""
    corpus = Path(work, reader)
    corpus.mkdir(parents=True, exist_ok=True)
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    arguments = [
        sys.argv[0],
        str(corpus),
        str(HERE / "seeds" / reader),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={corpus}/",
        "-rss_limit_mb=3000",
        "-timeout=20",
        "-max_len=20000",
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, lambda content: fuzzed_readers.read(reader, content, folder) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ".fuzz")
