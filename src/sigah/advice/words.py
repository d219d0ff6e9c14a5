"""An advice in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigah.advice.choice import Candidate, Wishes
from sigah.advice.prediction import Interval

if TYPE_CHECKING:
    from sigah.advice.run import Advice

__all__ = [
    "described",
    "in_words",
    "plain_words",
    "readable_bytes",
    "readable_time",
    "recall_range",
]

BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
NAMES = {
    "floats": "an exact search of all vectors, without codes",
    "sign": "plain sign bits",
    "itq": "ITQ codes",
    "sigah": "SiGAH codes",
    "vectors": "an index of vectors (`sigah vectors`)",
    "sq8": "FAISS's 8-bit scalar quantiser",
    "pq": "FAISS's product quantiser",
    "opq": "FAISS's optimised product quantiser (OPQ)",
    "rabitq": "FAISS's RaBitQ",
}
OF_FAISS = ("pq", "opq", "rabitq", "sq8")
MACHINE_GB = 64
USABLE = 0.8  # of a machine's memory


def plain_words(advice: Advice) -> list[str]:
    """Sentences: what to take, what it gives and costs, and what else there is."""
    if advice.choice is None or advice.recommended is None:
        return ["Nothing was measured yet."]
    best, unmet = advice.choice.recommended, advice.choice.unmet
    said = []
    if not advice.finished:
        said.append("Interrupted: this rests on what was measured before.")
    if unmet:
        said.append(_failure(best, unmet, advice.wishes))
    verb = "Nearest to it" if unmet else "Take"
    said.append(f"{verb}: {described(best, advice.wishes)}.")
    said.extend(_relevance(best, advice))
    said.append(_figures(best, advice))
    if best.method in OF_FAISS:
        said.append("For these vectors, product quantisation is better than the codes of sigah.")
    said.append(_sizes(best, advice))
    said.extend(_on_signs(best, advice))
    for one in advice.choice.runners_up:
        said.append(f"Or: {described(one, advice.wishes)}; {_short(one, advice.wishes)}.")
    said.extend(_on_trust(best, advice))
    return said


def described(one: Candidate, wishes: Wishes) -> str:
    """A candidate, such as ``ITQ codes of 16 bytes, and 100 original vectors ...``."""
    name = NAMES.get(one.method, one.method)
    if one.method == "floats":
        return f"{name} ({one.bytes:,} bytes each)"
    text = f"{name} of {one.bytes:,} bytes"
    if one.ranking == "asymmetric":
        text += ", ranked by asymmetric distance"
    if one.reads:
        where = "on disk" if wishes.raw == "disk" else "in memory"
        text += f", the best {one.reads:,} ranked again by the original vectors {where}"
    return text


def readable_bytes(size: float) -> str:
    """Bytes in a unit that leaves few digits.

    Examples
    --------
    >>> from sigah.advice.words import readable_bytes
    >>> readable_bytes(16e9), readable_bytes(384)
    ('16 GB', '384 bytes')
    """
    power = 0
    while size >= 999.5 and power < len(BYTE_UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{float(f'{size:.3g}'):,g} {BYTE_UNITS[power]}"


def readable_time(microseconds: float) -> str:
    """A time in a unit that leaves few digits.

    Examples
    --------
    >>> from sigah.advice.words import readable_time
    >>> readable_time(321.4), readable_time(25_000)
    ('321 us', '25 ms')
    """
    for unit, length in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= length:
            return f"{float(f'{microseconds / length:.3g}'):,g} {unit}"
    return f"{float(f'{microseconds:.3g}'):,g} us"


def recall_range(one: Candidate) -> str:
    """The expected recall and its interval."""
    return in_words(one.recall)


def in_words(interval: Interval) -> str:
    """What is expected, and the ends.

    Examples
    --------
    >>> from sigah.advice import Interval
    >>> from sigah.advice.words import in_words
    >>> in_words(Interval(0.9, 0.92, 0.94))
    '0.920 (0.900 to 0.940)'
    """
    if interval.low == interval.high:
        return f"{interval.expected:.3f}"
    return f"{interval.expected:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def quality_told(one: Candidate) -> str:
    """What is wished and compared: the share of the nDCG that is kept, or else the recall."""
    if one.kept is None:
        return f"recall {recall_range(one)}"
    return f"{in_words(one.kept)} of the nDCG kept, recall {recall_range(one)}"


def _relevance(one: Candidate, advice: Advice) -> list[str]:
    if one.ndcg is None or one.kept is None or advice.judgements is None:
        return []
    return [
        f"nDCG@{advice.k} of {advice.n_queries:,} judged queries: {in_words(one.ndcg)}; of the full"
        f" vectors: {in_words(advice.judgements.ndcg)}. Kept of it: {in_words(one.kept)}."
    ]


def _figures(one: Candidate, advice: Advice) -> str:
    time = "" if one.microseconds is None else f", {readable_time(one.microseconds)} a query"
    mark = " (extrapolated)" if "microseconds" in one.extrapolated and time else ""
    predicted = "predicted" if "recall" in one.extrapolated else "measured"
    return (
        f"Recall of the {advice.k} nearest among {advice.n_vectors:,} vectors, {predicted}:"
        f" {recall_range(one)}{time}{mark}, {one.reads:,} reads a query."
    )


def _short(one: Candidate, wishes: Wishes) -> str:
    text = quality_told(one)
    if one.microseconds is not None:
        text += f", {readable_time(one.microseconds)}"
    unmet = wishes.unmet(one)
    return text + (f" (fails: {', '.join(unmet)})" if unmet else "")


def _failure(best: Candidate, unmet: tuple[str, ...], wishes: Wishes) -> str:
    wanted = "recall {:g}" if best.kept is None else "{:g} of the nDCG of the full vectors"
    limits = {
        "recall": "" if wishes.recall is None else wanted.format(wishes.recall),
        "bytes": f"{wishes.bytes:g} bytes",
        "latency": readable_time(wishes.microseconds),
        "reads": f"{wishes.reads:,} reads",
    }
    within = [limits[name] for name in ("bytes", "latency") if limits[name] not in ("inf bytes",)]
    within = [text for text in within if not text.startswith("inf")]
    within.append("no reads" if wishes.raw == "none" else limits["reads"])
    if "recall" in unmet:
        return (
            f"Nothing measured surely reaches {limits['recall']} within {' and '.join(within)}:"
            f" the best has {in_words(best.quality)}."
        )
    return f"Nothing measured meets all wishes: {', '.join(limits[name] for name in unmet)} fails."


def _sizes(one: Candidate, advice: Advice) -> str:
    floats = 4 * advice.dim * advice.n_vectors
    usable = USABLE * MACHINE_GB * 1e9
    machines = -(-one.memory_bytes // int(usable))
    text = (
        f"{advice.n_vectors:,} vectors take {readable_bytes(one.memory_bytes)} of memory"
        f" ({readable_bytes(floats)} as floats)"
    )
    if one.disk_bytes:
        text += f" and {readable_bytes(one.disk_bytes)} of disk"
    if machines > 1:
        text += f": {machines:,} machines of {MACHINE_GB} GB"
    return text + "; ids that are not row numbers add 8 bytes each."


def _on_signs(best: Candidate, advice: Advice) -> list[str]:
    """Whether one bit for each dimension, which needs no learning, is enough."""
    wishes = advice.wishes
    signs = [one for one in advice.candidates if one.method == "sign"]
    if best.method == "sign":
        return ["Plain sign bits are enough: nothing has to be learned."]
    if not signs:
        return []
    fit = [one for one in signs if not wishes.unmet(one)]
    if fit:
        one = min(fit, key=lambda one: one.reads)
        return [
            f"Plain sign bits are enough too, at {one.bytes:,} bytes and {one.reads:,} reads:"
            f" {quality_told(one)}."
        ]
    one = max(signs, key=lambda one: one.quality.expected)
    return [
        f"Plain sign bits are not enough: {quality_told(one)}, at {one.bytes:,} bytes with"
        f" {one.reads:,} reads."
    ]


def _on_trust(best: Candidate, advice: Advice) -> list[str]:
    of = "held out" if advice.held_out else "given" if advice.judgements is None else "judged"
    text = f"Measured with {advice.n_queries:,} queries ({of}) on {best.measured_rows:,} vectors"
    if best.extrapolated:
        text += f"; {' and '.join(best.extrapolated)} at {advice.n_vectors:,} are extrapolated"
    said = [f"{text}. Intervals: 95 %."]
    if advice.judgements is not None and (missing := advice.judgements.n_unknown):
        said.append(
            f"{missing:,} of {advice.judgements.n_results:,} judged results are not among the"
            " vectors: no search finds them."
        )
    if best.reads and advice.wishes.raw == "disk":
        said.append("Times are with the original vectors in memory: add what the disk takes.")
    return said
