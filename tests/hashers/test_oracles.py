"""Linear methods from vectors to neighbours, held against FAISS given the same hyperplanes."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from sigah import ITQ, LSH, PCARotation, SignHashing
from sigah.codes import unpack
from sigah.search import HammingIndex

HASHERS = [
    LSH(16, random_state=0),
    LSH(48, random_state=0),
    ITQ(16, random_state=0),
    PCARotation(24, random_state=0),
    SignHashing(8),
]


def faiss_pipeline(hasher: Any) -> Any:
    """An affine map with the hasher's hyperplanes before FAISS's signs, codes and search."""
    d, n_bits = hasher.weights_.shape
    planes = faiss.LinearTransform(d, n_bits, True)
    faiss.copy_array_to_vector(np.ascontiguousarray(hasher.weights_.T).ravel(), planes.A)
    faiss.copy_array_to_vector(-hasher.thresholds_.astype(np.float32), planes.b)
    planes.is_trained = True
    return planes, faiss.IndexLSH(n_bits, n_bits, False, False)  # no rotation, no thresholds


@pytest.mark.parametrize("hasher", HASHERS, ids=repr)
def test_codes_and_neighbours_are_those_of_faiss(hasher: Any, blobs: Any) -> None:
    base, queries = blobs[:1900], blobs[1900:]
    hasher.fit(base)
    planes, reference = faiss_pipeline(hasher)
    scores = planes.apply(blobs)
    expected = np.unpackbits(reference.sa_encode(scores), axis=1, bitorder="little")
    found = unpack(hasher.transform(blobs))
    # both may round scores next to a hyperplane; elsewhere every bit is the same
    rounded = (np.abs(scores) < 1e-4).any(axis=1)
    assert rounded.mean() < 0.02
    np.testing.assert_array_equal(found[~rounded], expected[~rounded])

    kept, asked = base[~rounded[:1900]], queries[~rounded[1900:]]
    reference.add(planes.apply(kept))
    index = HammingIndex(hasher.n_bits)
    index.add(hasher.transform(kept))
    distances, _ = index.search(hasher.transform(asked), 20)
    np.testing.assert_array_equal(distances, reference.search(planes.apply(asked), 20)[0])


def test_raw_signs_are_what_faiss_calls_lsh(blobs: Any) -> None:
    raw = blobs - 3
    raw[0] = 0
    reference = faiss.IndexLSH(24, 24, False, False)
    reference.add(raw)
    hasher = SignHashing(24, center=False).fit(raw)
    codes = hasher.transform(raw)
    expected = np.unpackbits(reference.sa_encode(raw), axis=1, bitorder="little")
    np.testing.assert_array_equal(unpack(codes), expected)
    index = HammingIndex(24)
    index.add(codes)
    np.testing.assert_array_equal(index.search(codes[:50], 9)[0], reference.search(raw[:50], 9)[0])
