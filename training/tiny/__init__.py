"""Data for the embedded tiny model: task families, their training stream and their held-out tasks. See README.md."""
from . import word_problems, functions, rewriting  # noqa: F401  (each fills family.FAMILIES)
from .family import FAMILIES, GROUPS
from .streams import held_out_tasks, training_samples

__all__ = ["FAMILIES", "GROUPS", "held_out_tasks", "training_samples"]
