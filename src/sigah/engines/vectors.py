"""Search exported codes: by codes, or by vectors and the model that made the codes."""

from __future__ import annotations

from os import PathLike
from typing import Any

from numpy.typing import ArrayLike

from sigah.engines.base import Engine
from sigah.engines.registry import make_engine
from sigah.files import check_same_model

__all__ = ["VectorSearch", "connect"]


def connect(name: str, target: str | PathLike[str], **settings: Any) -> Engine:
    """Open a target of :func:`export` for searches by codes.

    Parameters
    ----------
    name : str
        A name of :data:`ENGINES`.
    target : str or path-like
    **settings
        Of the engine, to tune its searches.

    Returns
    -------
    Engine
        With ``about``, ``search(codes, k, filter=...)`` and ``close()``; a context manager.

    Raises
    ------
    ValueError
        If there is no such engine or setting, or the target's export was interrupted.
    OSError
        If the engine is not installed or cannot be reached, or the target does not exist.

    See Also
    --------
    export : Makes the target; its example searches it.
    VectorSearch : Searches by float vectors.
    """
    engine = make_engine(name, target, **settings)
    try:
        with engine.errors_as_one_line():
            about = engine.read_about()
        if about is None:
            raise FileNotFoundError(
                f"{engine.where}: nothing there; `sigah export {name}` puts codes there"
            )
        if not about.complete:
            raise ValueError(
                f"{engine.where}: its export was interrupted; run it again to complete it"
            )
        if engine.kind not in (None, about.kind):
            raise ValueError(f"{engine.where} has an index of kind {about.kind}, not {engine.kind}")
        engine.about = about
    except BaseException:
        engine.close()
        raise
    return engine


class VectorSearch:
    """Search an engine by float vectors, encoded by the model that made its codes.

    Parameters
    ----------
    engine : Engine
        From :func:`connect`.
    model : BinaryHasher, or path-like
        A fitted hasher, or its file.

    Raises
    ------
    ValueError
        If the engine's codes were made by another model.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import sigah
    >>> from sigah.engines import VectorSearch, connect, export
    >>> X = np.random.default_rng(0).normal(size=(100, 32))
    >>> hasher = sigah.LSH(64, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "codes.faiss"
    ...     export("faiss", target, hasher.transform(X), fingerprint=hasher.fingerprint)
    ...     with connect("faiss", target) as engine:
    ...         VectorSearch(engine, hasher).search(X[:1], k=1)
    Exported(codes=100, written=100)
    (array([[0]], dtype=int32), array([[0]]))
    """

    def __init__(self, engine: Engine, model: Any) -> None:
        if isinstance(model, (str, PathLike)):
            from sigah.hashers import load

            model = load(model)
        if engine.about is None:
            raise ValueError(f"{engine.where} is not open; sigah.engines.connect opens it")
        check_same_model(
            {"fingerprint": engine.about.fingerprint}, {"fingerprint": model.fingerprint}
        )
        self.engine = engine
        self.hasher = model

    def search(
        self, vectors: ArrayLike, k: int, *, filter: Any = None, n_ranked: int | None = None
    ) -> Any:
        """Find the ``k`` nearest of each vector.

        Parameters
        ----------
        vectors : array-like, shape (q, d)
        k : int
            Neighbours wanted, at least 1.
        filter : str, int or a list of them, optional
            Find only codes with one of these labels.
        n_ranked : int, optional
            How many of the nearest codes are ranked by the vectors that the target keeps, at least
            ``k``. By default the codes alone decide.

        Returns
        -------
        distances : ndarray, shape (q, k)
            As of :meth:`Engine.search` (int32), or of :meth:`Engine.search_vectors` (float32) by
            the metric of the model.
        ids : ndarray of int64, or of str, shape (q, k)
            Keys if the target has keys.

        Raises
        ------
        ValueError, OSError
            As these methods.
        """
        codes = self.hasher.transform(vectors)
        if n_ranked is None:
            return self.engine.search(codes, k, filter=filter)
        return self.engine.search_vectors(
            codes,
            vectors,
            k,
            n_ranked=n_ranked,
            metric=getattr(self.hasher, "metric", "l2"),
            filter=filter,
        )
