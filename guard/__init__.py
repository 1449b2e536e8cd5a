"""Inference-time unlearning: policy and algorithms, without an engine and without a web framework."""

from guard.errors import LetheError
from guard.types import Action, Example, ForgetTarget, Match, Restriction, Verdict

__all__ = ["Action", "Example", "ForgetTarget", "LetheError", "Match", "Restriction", "Verdict"]
