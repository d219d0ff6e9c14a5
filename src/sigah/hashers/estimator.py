"""A hasher is a scikit-learn estimator, and does not import scikit-learn.

``clone``, pipelines, parameter searches and ``set_output`` need an object's methods, not its class.
Importing scikit-learn would take longer than encoding.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require

__all__ = ["Estimator", "NotFittedError"]


class NotFittedError(ValueError, AttributeError):
    """A hasher was used before ``fit``; if scikit-learn is loaded, its own class is raised."""


class Estimator:
    """Parameters, feature names and tags, as in scikit-learn's ``BaseEstimator``."""

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    # scikit-learn's test for support of set_output
    _sklearn_auto_wrap_output_keys = frozenset({"transform"})

    @classmethod
    def _parameters(cls) -> dict[str, Any]:
        """Names and defaults of the parameters, as ``__init__`` lists them."""
        listed = inspect.signature(cls.__init__).parameters.values()
        return {each.name: each.default for each in listed if each.name != "self"}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; ``deep`` is for scikit-learn and has no effect."""
        return {name: getattr(self, name) for name in sorted(self._parameters())}

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters, with effect from the next :meth:`fit`.

        Raises
        ------
        ValueError
            If there is no such parameter. Values are checked when they are used.
        """
        known = self._parameters()
        for name in parameters:
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid parameters are:"
                    f" {sorted(known)!r}."
                )
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """The class with the parameters that are not at their defaults."""
        changed = (
            f"{name}={value!r}"
            for name, default in self._parameters().items()
            if repr(value := getattr(self, name)) != repr(default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
        )

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose whether :meth:`transform` returns an array or a table.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None
            None changes nothing.
        """
        if transform is not None:
            require("sklearn", "set_output", "train")
            self._sklearn_output_config = {"transform": transform}
        return self

    def _contained(self, columns: NDArray[Any], X: Any) -> Any:
        """The output as an array, or as the table that ``set_output`` asks for."""
        if "sklearn" not in sys.modules:
            return columns
        from sklearn.utils._set_output import _wrap_data_with_container

        return _wrap_data_with_container("transform", columns, X, self)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the output columns: the class and a number.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's pipelines.
        """
        self._check_is_fitted()
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{i}" for i in range(self._n_features_out)], dtype=object)

    @property
    def _n_features_out(self) -> int:
        raise NotImplementedError

    def _check_is_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            loaded = sys.modules.get("sklearn.exceptions")
            error = NotFittedError if loaded is None else loaded.NotFittedError
            raise error(f"this {type(self).__name__} is not fitted yet: call fit, or open a model")

    def _check_features(self, X: Any, n_features: int, *, reset: bool) -> None:
        """Store the number and the names of columns, or compare them with the stored ones."""
        names = feature_names(X)
        if reset:
            self.n_features_in_ = n_features
            if names is not None:
                self.feature_names_in_ = names
            elif hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
            return
        method = type(self).__name__
        known: Any = getattr(self, "feature_names_in_", None)
        if names is None and known is not None:
            warnings.warn(
                f"X does not have valid feature names, but {method} was fitted with feature names",
                stacklevel=5,
            )
        elif names is not None and known is None:
            warnings.warn(
                f"X has feature names, but {method} was fitted without feature names", stacklevel=5
            )
        elif names is not None and list(names) != list(known):
            raise ValueError(_difference(list(known), list(names)))
        if n_features != self.n_features_in_:
            raise ValueError(
                f"X has {n_features} features, but {method} is expecting {self.n_features_in_}"
                " features as input."
            )


def feature_names(X: Any) -> NDArray[np.object_] | None:
    """Names of the columns of a table that has names for all of them."""
    columns = getattr(X, "column_names", getattr(X, "columns", None))  # of Arrow; of all others
    if columns is None or isinstance(X, np.ndarray) or not len(columns):
        return None
    named = sum(isinstance(column, str) for column in columns)
    if 0 < named < len(columns):
        raise TypeError(
            "Feature names are only supported if all input features have string names: convert"
            " them all with X.columns = X.columns.astype(str)"
        )
    return np.asarray(columns, dtype=object) if named else None


def _difference(known: list[str], names: list[str]) -> str:
    lines = ["The feature names should match those that were passed during fit."]
    for title, some in (
        ("Feature names unseen at fit time:", sorted(set(names) - set(known))),
        ("Feature names seen at fit time, yet now missing:", sorted(set(known) - set(names))),
    ):
        if some:
            lines += [title, *(f"- {name}" for name in some[:5]), *["- ..."][: len(some) > 5]]
    if len(lines) == 1:
        lines.append("Feature names must be in the same order as they were in fit.")
    return "\n".join(lines) + "\n"
