#!/usr/bin/env bash
# A learning rate that `dvc exp run -S` sets, where the stage's command is Snakemake and reads the same params.yaml.
#
# Guess before running: `-S learning_rate=0.00001` puts a number into params.yaml, and that is what config has.
# Seen: DVC writes 1e-05, which is a number for DVC (`dvc params diff`: 1e-05, a float in its JSON), and a text for
# Snakemake, whose YAML wants a point in such numbers. Nobody says so: twice the rate is 1e-051e-05. 0.001 is a number
# in both; so is 1.0e-05, until DVC writes the file again.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
with() {
    uv run --quiet --isolated --no-project --python 3.11 --with dvc==3.67.1 --with snakemake==9.27.1 "$@"
}
cat >params.yaml <<'YAML'
learning_rate: 0.01
YAML
cat >dvc.yaml <<'YAML'
stages:
  train:
    cmd: snakemake --cores 1 --quiet all --forceall
    params: [learning_rate]
    outs: [twice.txt]
YAML
cat >Snakefile <<'SMK'
configfile: "params.yaml"


rule train:
    output: "twice.txt"
    run:
        rate = config["learning_rate"]
        with open(output[0], "w") as file:
            file.write(f"{type(rate).__name__} {2 * rate}")
SMK
git init -q .
with dvc init -q
git add .
git -c user.name=a -c user.email=a@example.org commit -qm start
echo "dvc $(with dvc --version), snakemake $(with snakemake --version)"
for rate in 0.001 0.00001; do
    with dvc exp run -q -S "learning_rate=$rate" >/dev/null 2>&1
    line="$(cat params.yaml); $(with dvc params diff --json |
        python3 -c 'import json, sys; [one] = json.load(sys.stdin).values(); print("DVC:", repr(one["learning_rate"]["new"]))')"
    echo "-S learning_rate=$rate: $line; Snakemake, twice: $(cat twice.txt)"
    seen="${seen:-}$line; $(cat twice.txt)
"
done
[ "$seen" = "learning_rate: 0.001; DVC: 0.001; float 0.002
learning_rate: 1e-05; DVC: 1e-05; str 1e-051e-05
" ] || { echo "the finding is out of date"; exit 1; }
