"""``--recipe``: what `sigah advise` recommended, in place of options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sigah.advice.recipe import FACTORIES, OF_HASHERS, Recipe, read_recipe
from sigah.cli.inputs import naming

__all__ = ["RecipeFile", "Settled", "check_index", "check_model", "take_recipe"]

RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="Made by `sigah advise`; it takes the place of other options."),
]


class Settled:
    """Values of options: those of the command line, or those of a recipe.

    Parameters
    ----------
    context : typer.Context
    path : Path
    recipe : Recipe
    """

    def __init__(self, context: typer.Context, path: Path, recipe: Recipe) -> None:
        self.context, self.path, self.recipe = context, path, recipe

    def option(self, parameter: str, option: str, said: Any, value: Any) -> Any:
        """The value of the recipe; an error if the command line says something else."""
        if self.is_given(parameter) and said != value:
            raise ValueError(
                f"{option} {said}: the recipe {self.path} says {value}; leave one of them out"
            )
        return value

    def default(self, parameter: str, said: Any, value: Any) -> Any:
        """The value of the command line, or else of the recipe."""
        return said if self.is_given(parameter) else value

    def is_given(self, parameter: str) -> bool:
        """Whether an option stands on the command line."""
        source = self.context.get_parameter_source(parameter)
        return source is not None and source.name == "COMMANDLINE"


def take_recipe(context: typer.Context, path: Path, wanted: str) -> Settled:
    """Read a recipe for a command that is about "codes" or an index of "vectors"."""
    if not path.is_file():
        raise FileNotFoundError(f"--recipe {path}: no such file")
    with naming("--recipe", path):
        recipe = read_recipe(path)
    kind = "codes" if recipe.method in OF_HASHERS else recipe.method
    if kind == wanted:
        return Settled(context, path, recipe)
    if kind == "codes":
        cure = f"its method is {recipe.method}: use `sigah fit`, `encode` and `search`"
    elif kind == "vectors":
        cure = "it is about an index of vectors: use `sigah vectors build` and `vectors search`"
    elif kind == "floats":
        cure = "it says that no codes are needed: keep the vectors and compare all of them"
    else:
        made = FACTORIES[recipe.method].format(m=recipe.bytes)
        dim = recipe.made_from.get("dimensions", "d")
        cure = f'it is for FAISS, not for sigah: faiss.index_factory({dim}, "{made}")'
    raise ValueError(f"--recipe {path}: {cure}")


def check_model(hasher: Any, settled: Settled, name: str = "MODEL") -> None:
    """Refuse a model that is not the one of the recipe."""
    recipe = settled.recipe
    pairs = {
        "method": (hasher.name, recipe.method),
        "bits": (hasher.n_bits, recipe.bits),
        "metric": (getattr(hasher, "metric", "l2"), recipe.metric),
    }
    for what, (own, wanted) in pairs.items():
        if own != wanted:
            raise ValueError(
                f"{name} has {what} {own}, but the recipe {settled.path} says {wanted}; fit the"
                " model with the recipe"
            )


def check_index(index: Any, settled: Settled, name: str = "INDEX") -> None:
    """Refuse an index of vectors that is not the one of the recipe."""
    recipe = settled.recipe
    if (index.n_bytes, index.metric) != (recipe.bytes, recipe.metric):
        raise ValueError(
            f"{name} has {index.n_bytes} bytes and metric {index.metric}, but the recipe"
            f" {settled.path} says {recipe.bytes} and {recipe.metric}; build the index with the"
            " recipe"
        )
