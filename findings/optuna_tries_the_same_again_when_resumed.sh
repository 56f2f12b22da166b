#!/usr/bin/env bash
# A search for a learning rate and dropout, kept in a file, that stops after 5 trials and goes on for 5 more: the same
# script started twice, its sampler seeded for reproducibility.
#
# Guess before running: the seed fixes what is tried and the study knows what was: 10 different points in 10 trials.
# Seen (optuna 5.0.0): the second start draws from the beginning of the seed again: RandomSampler, and TPESampler while it
# still draws at random (10 trials), try the same 5 points twice, at full cost, and keep both as trials of the study.
# QMCSampler goes on where the study stands, and so do the others with another seed.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

print("optuna", optuna.__version__)
optuna.logging.set_verbosity(optuna.logging.WARNING)


def score(trial: optuna.Trial) -> float:
    return trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True) * trial.suggest_float("dropout", 0, 0.5)


def points(name: str, seeds: tuple[int, int]) -> list[tuple[float, ...]]:
    """The points of a study that is made, left after 5 trials, and gone on with for 5 more."""
    for seed in seeds:
        storage = JournalStorage(JournalFileBackend(str(Path(sys.argv[1]) / f"{name}_{seeds[1]}.log")))
        sampler = getattr(optuna.samplers, name)(seed=seed)
        study = optuna.create_study(storage=storage, study_name="cells", load_if_exists=True, sampler=sampler)
        study.optimize(score, n_trials=5)
    return [tuple(trial.params.values()) for trial in study.trials]


seen = {}
for name in ("RandomSampler", "TPESampler", "QMCSampler"):
    for seeds in ((0, 0), (0, 1)):
        tried = points(name, seeds)
        seen[name, seeds] = len(set(tried))
        print(f"{name}, seeds {seeds}: {len(set(tried))} different points in {len(tried)} trials")
assert seen["RandomSampler", (0, 0)] == seen["TPESampler", (0, 0)] == 5, "new points are tried: the finding is out of date"
assert seen["QMCSampler", (0, 0)] == seen["RandomSampler", (0, 1)] == seen["TPESampler", (0, 1)] == 10
PY
uv run --quiet --isolated --no-project --python 3.11 --with optuna==5.0.0 --with scipy==1.17.1 --with numpy==2.4.6 \
    python "$work/probe.py" "$work"
