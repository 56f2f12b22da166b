#!/usr/bin/env bash
# --allowed-rules in a workflow with a checkpoint, as a stage of DVC uses it to run one rule and nothing else.
#
# Guess before running: --allowed-rules last --forceall makes last.txt from middle.txt, which is there, and nothing
# else; a checkpoint of another branch of the workflow, which no job needs, changes nothing.
# Seen: so it is without the checkpoint. With it, first and middle are forced and run again, too: rules that aren't
# allowed stay among the rules. --force (the targets alone) makes last.txt alone in both.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >Snakefile <<'SMK'
rule first:
    output: "first.txt"
    shell: "touch {output}"


rule middle:
    input: "first.txt"
    output: "middle.txt"
    shell: "touch {output}"


rule last:
    input: "middle.txt"
    output: "last.txt"
    shell: "touch {output}"
SMK
smk() {
    uv run --quiet --isolated --no-project --python 3.11 --with snakemake==9.27.1 snakemake --cores 1 "$@"
}
rules() {
    smk --dry-run "$1" --allowed-rules last -- last.txt 2>&1 | sed -n 's/^rule \(.*\):$/\1/p' | sort -u | paste -sd ' '
}
echo "snakemake $(smk --version)"
smk --quiet all -- last.txt >/dev/null 2>&1
alone="$(rules --forceall)"
echo "--forceall, no checkpoint: $alone"
cat >>Snakefile <<'SMK'


checkpoint elsewhere:
    output: "elsewhere.txt"
    shell: "touch {output}"
SMK
beside="$(rules --forceall)"
echo "--forceall, with a checkpoint elsewhere: $beside"
target="$(rules --force)"
echo "--force, with it: $target"
[ "$alone; $beside; $target" = "last; first last middle; last" ] || { echo "the finding is out of date"; exit 1; }
