#!/usr/bin/env bash
# A workflow that aggregates with `expand(rules.x.output, ...)`, once its files are kept by a storage plugin.
#
# Guess before running: where files are kept is a run-time choice; with --default-storage-provider, as with a bucket and
# Kubernetes, the same Snakefile plans the same jobs.
# Seen (snakemake 9.27.1, snakemake-storage-plugin-fs 1.1.3): it plans three jobs without the option and stops with it,
# before any job: the provider is a flag on the outputs that are referred to, and expand() refuses flagged patterns.
# Written out as texts, the same patterns work both ways.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/kept"
write() {
    cat >"$work/Snakefile" <<SMK
rule one:
    output: "made/{name}.txt"
    shell: "touch {output}"
rule every:
    default_target: True
    input: expand($1, name=["a", "b"])
    output: "made/all.txt"
    shell: "touch {output}"
SMK
}
plan() {
    (cd "$work" && uv run --quiet --isolated --no-project --python 3.11 --with snakemake==9.27.1 \
        --with snakemake-storage-plugin-fs==1.1.3 snakemake --cores 1 --dry-run "$@" 2>&1) || true
}
kept=(--default-storage-provider fs --default-storage-prefix "$work/kept")
jobs() { grep -c "^rule " || true; }
write "rules.one.output"
referred=$(plan | jobs) said=$(plan "${kept[@]}")
write '"made/{name}.txt"'
written=$(plan "${kept[@]}" | jobs)
echo "expand(rules.one.output): $referred jobs planned on local files; in storage: $(grep -o 'Flags (.*' <<<"$said" | sed 's/object at [^>]*/object/')"
echo "expand of the pattern as a text, in storage: $written jobs planned"
[ "$referred" = 3 ] && [ "$written" = 3 ] && grep -q "given to expand() are invalid" <<<"$said" || { echo "out of date"; exit 1; }
