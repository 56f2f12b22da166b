#!/usr/bin/env bash
# A parameter of a DVC stage that was a number and becomes a switch: clip: 1 (per cent at either end) and then clip: true (the
# whole range); pad: 0 and then pad: false. The stage's command keeps the parameters it was run with.
#
# Guess before running: 1 and 1.0 may be the same, but true is another value than 1 in YAML: `dvc params diff` shows it, and
# `dvc repro` runs the stage.
# Seen (dvc 3.67.1): they are compared as Python compares them, in which True == 1: no difference, "up to date", and the stage
# is skipped: results are those of the old parameters, which the lock file names. From 1 to 2 it runs.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
with() {
    uv run --quiet --isolated --no-project --python 3.11 --with dvc==3.67.1 "$@"
}
printf 'clip: 1\npad: 0\n' >params.yaml
cat >dvc.yaml <<'YAML'
stages:
  normalise:
    cmd: cp params.yaml used.yaml
    params: [clip, pad]
    outs: [used.yaml]
YAML
git init -q .
with dvc init -q
with dvc repro -q
git add .
git -c user.name=a -c user.email=a@example.org commit -qm start
echo "dvc $(with dvc --version)"
for now in 'clip: true\npad: false\n' 'clip: 2\npad: false\n'; do
    printf "$now" >params.yaml
    differ=$(with dvc params diff --json)
    with dvc repro -q
    line="params.yaml: $(paste -sd ' ' params.yaml) | dvc params diff: $differ | run with: $(paste -sd ' ' used.yaml)"
    echo "$line"
    seen="${seen:-}$line
"
done
[ "$seen" = 'params.yaml: clip: true pad: false | dvc params diff: {} | run with: clip: 1 pad: 0
params.yaml: clip: 2 pad: false | dvc params diff: {"params.yaml": {"clip": {"old": 1, "new": 2, "diff": 1}}} | run with: clip: 2 pad: false
' ] || {
    echo "the finding is out of date"
    exit 1
}
