"""A test collection: texts, queries, and judgements of which text serves which query."""

from __future__ import annotations

from dataclasses import dataclass

from sigah.evaluation.qrels import Judgements

__all__ = ["Collection"]


@dataclass(frozen=True)
class Collection:
    """Texts to search, queries, and judgements.

    Attributes
    ----------
    name : str
    texts : dict of str to str
        Texts by id, in the order of the files. A text may be empty.
    queries : dict of str to str
        Queries by id. Some may have no judgements.
    judgements : mapping
        Grades by query and text, as :func:`sigah.evaluation.read_qrels` returns them.
    """

    name: str
    texts: dict[str, str]
    queries: dict[str, str]
    judgements: Judgements

    def __post_init__(self) -> None:
        if not self.texts or not self.queries:
            what = "queries" if self.texts else "texts"
            raise ValueError(f"the collection {self.name} has no {what}")
        if not any(query in self.judgements for query in self.queries):
            raise ValueError(f"the collection {self.name} has no judgements of its queries")

    def __str__(self) -> str:
        judged = sum(query in self.judgements for query in self.queries)
        return (
            f"{self.name}: {len(self.texts):,} texts, {len(self.queries):,} queries, {judged:,} of"
            " them judged"
        )
