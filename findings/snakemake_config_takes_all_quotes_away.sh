#!/usr/bin/env bash
# A name that looks like a number, a plate called 007, given to Snakemake with --config.
#
# Guess before running: --config plate=007 may become a number; in quotes that the shell leaves, --config
# 'plate="007"', it is a text, as in YAML.
# Seen: it is 7 whatever the quotes, for they are stripped before the value is looked at; 2024_01_15 is 20240115 and
# NaN a float. A YAML tag (!!str 007) or a file for --configfile keeps the text.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >Snakefile <<'SMK'
print(repr(config["plate"]), file=open("seen", "a"))


rule all:
    input: []
SMK
printf 'plate: "007"\n' >file.yaml
smk() {
    uv run --quiet --isolated --no-project --python 3.11 --with snakemake==9.27.1 snakemake "$@"
}
echo "snakemake $(smk --version)"
for value in 007 '"007"' "'\"007\"'" 2024_01_15 NaN '!!str 007'; do
    smk --cores 1 --quiet all --dry-run --config "plate=$value" >/dev/null 2>&1
    echo "--config plate=$value: $(tail -1 seen)"
done
smk --cores 1 --quiet all --dry-run --configfile file.yaml >/dev/null 2>&1
echo "--configfile with \"007\": $(tail -1 seen)"
[ "$(paste -sd ' ' seen)" = "7 7 7 20240115 nan '007' '007'" ] || { echo "the finding is out of date"; exit 1; }
