"""Plans: memory, machines and time for a number of vectors, from measured rates.

A plan is simple arithmetic on :mod:`sigah.plan.rates`. Its ``assumptions`` list everything beyond
the measurements. It says whether ten machines are needed or a hundred, not whether nine or ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sigah.checks import plain
from sigah.codes import check_n_bits
from sigah.plan import rates
from sigah.plan.arithmetic import (
    bytes_of_tables,
    encode_rate,
    fit_seconds,
    machines_with_tables,
    scan_rate,
    table_seconds,
    uniform_radius,
)
from sigah.plan.words import alternatives_of, assumptions_of, index_of, reason_of

__all__ = ["Plan", "plan"]

ID_BYTES = 8  # per id; consecutive ids need none
MOST_VECTORS, MOST_BITS = 10**15, 65528


@dataclass(frozen=True)
class Plan:
    """A plan, in bytes and seconds; each machine holds ``1 / machines`` of the codes.

    Attributes
    ----------
    vectors, bits, dim, queries_per_second, recall, ram_bytes, cores
        The arguments of :func:`plan`.
    float_bytes, code_bytes, id_bytes : int
        Of all vectors as float32, of their codes, and of ids if they are not consecutive.
    table_bytes : int
        Of multi-index tables, in addition to codes and ids.
    saved : float
        How many times smaller codes are than floats.
    machines : int
        Machines needed to hold codes and ids in memory and to answer the queries by scans.
    table_machines, float_machines : int
        Machines needed to hold codes, ids and tables; machines needed to hold the floats.
    limit : {"memory", "queries"}
        What determines the number of machines.
    fit_seconds, itq_fit_seconds : float
        Learning SiGAH or ITQ, once, on one machine of two cores.
    encode_seconds : float
        Encoding everything, on all machines together.
    encode_bytes_per_second : float
        Rate at which each machine must read vectors for that.
    query_seconds : float
        A scan for a single query.
    batch, batch_seconds : int, float
        Queries that must be answered together to keep up, and the time of such a batch; queries
        that arrive meanwhile form the next batch.
    capacity : float
        Queries per second at which machines are fully busy, in batches of 100.
    tables_near_seconds, tables_uniform_seconds : float
        A query by tables on one core of ``table_machines``: the least time, for near neighbours;
        and the time for neighbours as far away as in random bits.
    index, engine, reason : str
        The recommendation, and the reason.
    alternatives : dict of str to str
        Other engines, and when to use them.
    assumptions : list of str
        The source of the figures, and what was not measured.
    """

    vectors: int
    bits: int
    dim: int
    queries_per_second: float
    recall: float | None
    ram_bytes: float
    cores: int
    float_bytes: int
    code_bytes: int
    id_bytes: int
    table_bytes: int
    saved: float
    machines: int
    table_machines: int
    float_machines: int
    limit: str
    fit_seconds: float
    itq_fit_seconds: float
    encode_seconds: float
    encode_bytes_per_second: float
    query_seconds: float
    batch: int
    batch_seconds: float
    capacity: float
    tables_near_seconds: float
    tables_uniform_seconds: float
    index: str
    engine: str
    reason: str
    alternatives: dict[str, str]
    assumptions: list[str]


def plan(
    vectors: float,
    bits: int = 64,
    *,
    dim: int = 768,
    queries_per_second: float = 100,
    recall: float | None = None,
    ram_gb: float = 64,
    cores: int = rates.CORES,
) -> Plan:
    """Plan a collection.

    Parameters
    ----------
    vectors : int or float
        Number of vectors; a float such as ``1e9`` must be a whole number.
    bits : int, default=64
        Code length, a multiple of 8.
    dim : int, default=768
        Dimensions of the vectors.
    queries_per_second : float, default=100
    recall : float, optional
        Share of the true ten neighbours wanted among the ten returned.
    ram_gb : float, default=64
        Memory of a machine, in units of 10^9 bytes.
    cores : int, default=2
        Of a machine. Rates were measured on two; for others they are scaled.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from sigah.plan import plan
    >>> million = plan(1e6, 128, dim=768)
    >>> million.float_bytes // million.code_bytes, million.machines, million.engine
    (192, 1, 'HammingIndex')
    """
    n = round(_number("vectors", vectors, 1, MOST_VECTORS, whole=True))
    bits = check_n_bits(bits)
    if bits > MOST_BITS:
        raise ValueError(f"bits must be at most {MOST_BITS:,}, got {bits:,}")
    dim = round(_number("dim", dim, 1, 10**7, whole=True))
    rate = _number("queries per second", queries_per_second, 1e-9, 1e12)
    ram = 1e9 * _number("ram", ram_gb, 1, 1e6)
    cores = round(_number("cores", cores, 1, 4096, whole=True))
    if recall is not None:
        _number("recall", recall, 1e-9, 1)

    code_bytes, id_bytes, float_bytes = n * bits // 8, n * ID_BYTES, n * dim * 4
    usable = rates.USABLE * ram
    by_memory = math.ceil((code_bytes + id_bytes) / usable)
    by_queries = math.ceil(rate * n / (rates.BUSY * scan_rate(bits, rates.BATCHES[-1], cores)))
    machines = max(by_memory, by_queries)
    here = math.ceil(n / machines)  # codes of a machine
    # the smallest batches that keep up; rounding may leave none
    keeps_up = [b for b in rates.BATCHES if rates.BUSY * scan_rate(bits, b, cores) / here >= rate]
    batch = min(keeps_up, default=rates.BATCHES[-1])
    query_seconds = here / scan_rate(bits, 1, cores)
    table_machines = machines_with_tables(bits, n, code_bytes + id_bytes, usable)
    tabled = math.ceil(n / table_machines)
    near = table_seconds(bits, tabled, round(rates.NEAR * bits))
    uniform = table_seconds(bits, tabled, uniform_radius(bits, tabled))
    encoded = encode_rate(bits, dim) * cores / rates.CORES
    return Plan(
        vectors=n,
        bits=bits,
        dim=dim,
        queries_per_second=rate,
        recall=recall,
        ram_bytes=ram,
        cores=cores,
        float_bytes=float_bytes,
        code_bytes=code_bytes,
        id_bytes=id_bytes,
        table_bytes=table_machines * bytes_of_tables(bits, tabled),
        saved=float_bytes / code_bytes,
        machines=machines,
        table_machines=table_machines,
        float_machines=math.ceil(float_bytes / usable),
        limit="memory" if by_memory >= by_queries else "queries",
        fit_seconds=fit_seconds("sigah", bits, dim),
        itq_fit_seconds=fit_seconds("itq", bits, dim),
        encode_seconds=n / encoded / machines,
        encode_bytes_per_second=encoded * dim * 4,
        query_seconds=query_seconds,
        batch=batch,
        batch_seconds=batch * here / scan_rate(bits, batch, cores),
        capacity=scan_rate(bits, rates.BATCHES[-1], cores) / here,
        tables_near_seconds=near,
        tables_uniform_seconds=uniform,
        index=index_of(machines, table_machines, near, uniform, query_seconds),
        engine="HammingIndex" if machines == 1 else "HammingIndex shards, one a machine",
        reason=reason_of(by_memory, by_queries),
        alternatives=alternatives_of(bits, by_memory),
        assumptions=assumptions_of(n, here, bits, dim, cores),
    )


def _number(name: str, value: Any, least: float, most: float, *, whole: bool = False) -> float:
    value = plain(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= most or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} must be {kind} from {least:,g} to {most:,g}, got {value!r}")
    return float(value)
