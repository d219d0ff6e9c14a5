"""Advice: which method, how many bytes and how much re-ranking suit a user's own vectors.

``contenders.py`` names what is compared, ``measurement.py`` measures it on a sample,
``prediction.py`` predicts recall at the full size, ``choice.py`` decides, ``words.py`` says it.
``run.py`` is the whole of it. ``recipe.py`` keeps the outcome for other commands.
"""

from sigah.advice.choice import Candidate, Choice, Wishes, choose
from sigah.advice.prediction import Interval, predict
from sigah.advice.recipe import Recipe, read_recipe, write_recipe
from sigah.advice.run import Advice, AdviceInterrupted, advise

__all__ = [
    "Advice",
    "AdviceInterrupted",
    "Candidate",
    "Choice",
    "Interval",
    "Recipe",
    "Wishes",
    "advise",
    "choose",
    "predict",
    "read_recipe",
    "write_recipe",
]
