"""The score from which predictions count, as `evaluate` chose it: for verbs that need no more of its scores."""

from __future__ import annotations

from pathlib import Path

from monolayer.files import InputError, read_json


def score_threshold(scores: Path) -> float:
    """The threshold that `evaluate` chose."""
    found = read_json(scores, "scores", "give metrics/<run>.json of evaluate")
    try:
        return float(found["score_threshold"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{scores} has no score_threshold ({error!r}); give metrics/<run>.json of evaluate") from error
