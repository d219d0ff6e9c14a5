"""The arithmetic of a plan: rates and sizes between and beyond the measured ones."""

from __future__ import annotations

import math

from sigah.plan import rates

__all__ = [
    "bytes_of_tables",
    "encode_rate",
    "fit_seconds",
    "machines_with_tables",
    "scan_rate",
    "table_seconds",
    "uniform_radius",
]

MOST_TABLE_CODES = 2**32


def scan_rate(bits: int, batch: int, cores: int) -> float:
    """Comparisons per second on one machine, in batches of 1, 10 or 100 queries.

    Between two measured widths, the wider one is used. A single query is limited by memory speed,
    so more cores than the measured two are assumed to give no gain.
    """
    widest = max(rates.SCAN)
    width = min((w for w in rates.SCAN if w >= bits), default=widest)
    rate = rates.SCAN[width][rates.BATCHES.index(batch)] * min(1, widest / bits)
    share = cores / rates.CORES
    return rate * (min(share, 1) if batch == 1 else share)


def encode_rate(bits: int, dim: int) -> float:
    """Vectors per second on two cores; the time grows with the dimension and with bits over 64."""
    widest = max(rates.ENCODE)
    width = min((w for w in rates.ENCODE if w >= bits), default=widest)
    return rates.ENCODE[width] * min(1, widest / bits) * rates.ENCODE_DIM / dim


def fit_seconds(method: str, bits: int, dim: int) -> float:
    """Seconds of learning from 60,000 vectors on two cores.

    Linear through 32 and 64 bits, and quadratic in dimensions beyond the measured one, like the
    number of entries of SiGAH's dictionary and ITQ's covariance.
    """
    at_32, at_64 = rates.FIT[method][32], rates.FIT[method][64]
    seconds = max(at_32, at_64 + (at_64 - at_32) * (bits - 64) / 32)
    return seconds * max(1.0, dim / rates.ENCODE_DIM) ** 2


def bytes_of_tables(bits: int, n: int) -> int:
    """Memory of multi-index tables of ``n`` codes, as :class:`MultiIndex` lays them out."""
    from sigah.search.multi_index import cut

    widths, _ = cut(bits, n)
    words = -(-bits // 64) * 8
    return len(widths) * n * (words + 4) + 4 * int(sum((1 << widths) + 1))


def machines_with_tables(bits: int, n: int, other_bytes: int, usable: float) -> int:
    """Machines whose memory holds tables beside everything else."""
    machines = max(1, math.ceil(n / (MOST_TABLE_CODES - 1)))
    while True:  # with more machines, each has fewer codes and other tables
        tables = machines * bytes_of_tables(bits, math.ceil(n / machines))
        needed = math.ceil((other_bytes + tables) / usable)
        if needed <= machines:
            return machines
        machines = needed


def table_seconds(bits: int, n: int, radius: int) -> float:
    """Seconds until tables find all codes within a radius, for evenly spread codes.

    After table ``j`` of ``m`` and substring radius ``a``, every code within ``m a + j`` is found.
    """
    from sigah.search.multi_index import cut

    widths, _ = cut(bits, n)
    m, nanoseconds = len(widths), 0.0
    for j, width in enumerate(map(int, widths)):
        widest = radius // m - (j > radius % m)
        buckets = sum(math.comb(width, flips) for flips in range(widest + 1))
        met = buckets * n / 2**width
        nanoseconds += buckets * rates.TABLES["bucket_ns"] + met * rates.TABLES["code_ns"]
    return nanoseconds / 1e9


def uniform_radius(bits: int, n: int) -> int:
    """Distance of the tenth neighbour among ``n`` codes of random bits."""
    within, radius = 1, 0  # number of the 2**bits codes within the radius
    while within * n < rates.K << bits and radius < bits:
        radius += 1
        within += math.comb(bits, radius)
    return radius
