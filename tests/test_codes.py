from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sigah.codes import check_codes, check_n_bits, pack, signs, unpack

bit_matrices = st.tuples(st.integers(0, 20), st.integers(1, 9)).flatmap(
    lambda shape: hnp.arrays(np.bool_, (shape[0], shape[1] * 8))
)


@given(bit_matrices)
def test_unpack_undoes_pack(bits: NDArray[np.bool_]) -> None:
    codes = pack(bits)
    assert codes.dtype == np.uint8
    assert codes.shape == (len(bits), bits.shape[1] // 8)
    np.testing.assert_array_equal(unpack(codes), bits)


@given(bit_matrices)
def test_bit_j_is_bit_7_minus_j_mod_8_of_byte_j_div_8(bits: NDArray[np.bool_]) -> None:
    codes = pack(bits)
    for j in range(bits.shape[1]):
        np.testing.assert_array_equal(codes[:, j // 8] >> (7 - j % 8) & 1, bits[:, j])


@given(bit_matrices)
def test_inner_product_of_signs_gives_the_hamming_distance(bits: NDArray[np.bool_]) -> None:
    vectors = signs(pack(bits))
    assert vectors.dtype == np.float32
    differing = (bits[:, None, :] != bits[None, :, :]).sum(axis=2)
    np.testing.assert_array_equal((bits.shape[1] - vectors @ vectors.T) / 2, differing)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_pack_takes_zeros_and_ones_of_any_type(dtype: Any) -> None:
    bits = np.eye(8, 16)
    np.testing.assert_array_equal(pack(bits.astype(dtype)), pack(bits.astype(bool)))


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (np.full((2, 8), 2), "0 or 1"),
        (np.full((2, 8), -1), "0 or 1"),
        (np.full((2, 8), np.nan), "0 or 1"),
        (np.ones((2, 7)), "multiple of 8"),
        (np.ones((2, 0)), "multiple of 8"),
        (np.ones(8), "shape"),
    ],
)
def test_pack_refuses_what_is_not_bits(bits: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(bits)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 8), np.int64), "uint8"),
        (np.zeros((2, 8), bool), "uint8"),
        (np.zeros((2, 8), np.float32), "uint8"),
        (np.zeros(8, np.uint8), "shape"),
        (np.zeros((2, 0), np.uint8), "shape"),
        (np.zeros((2, 3), np.uint8), "24 bits, expected 64"),
    ],
)
def test_codes_of_another_type_shape_or_width_are_refused(codes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^queries .*{message}"):
        check_codes(codes, n_bits=64, name="queries")


def test_checked_codes_are_contiguous_and_no_copy_is_made_without_need() -> None:
    codes = np.arange(32, dtype=np.uint8).reshape(4, 8)
    assert check_codes(codes) is codes
    transposed = check_codes(np.asfortranarray(codes))
    assert transposed.flags.c_contiguous
    np.testing.assert_array_equal(transposed, codes)


@pytest.mark.parametrize("n_bits", [0, -8, 12, 64.0, "64", None, True])
def test_n_bits_is_a_positive_multiple_of_8(n_bits: object) -> None:
    with pytest.raises(ValueError, match="n_bits"):
        check_n_bits(n_bits)


def test_n_bits_may_be_a_numpy_integer() -> None:
    assert type(check_n_bits(np.int32(64))) is int
