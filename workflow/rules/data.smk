# Images and truth: fetched and normalised, checked, split.


rule download:
    input:
        code=code("data.download"),
    output:
        images=directory("results/{dataset}/data/images"),
        annotations="results/{dataset}/data/annotations.json",
    log:
        "results/{dataset}/logs/download.log",
    localrule: True  # compute nodes have no network
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: P.datasets[w.dataset].model_dump_json(),
        # not given to the verb: your own files are too many to be inputs, but a change of one is not to go unseen
        local_files=lambda w: content(
            local_paths(P.datasets[w.dataset]), Path(".snakemake/local_files.json")
        ),
    shell:
        "monolayer download --images {output.images} --annotations {output.annotations}"
        " --params {params.settings:q} --log {log}"


rule audit:
    input:
        images=rules.download.output.images,
        annotations=rules.download.output.annotations,
        code=code("data.audit"),
    output:
        "results/{dataset}/data/audit.json",
    log:
        "results/{dataset}/logs/audit.log",
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        settings=P.audit.model_dump_json(),
    shell:
        "monolayer audit --images {input.images} --annotations {input.annotations}"
        " --params {params.settings:q} --output {output} --workers {threads} --log {log}"


rule split:
    input:
        annotations=rules.download.output.annotations,
        audit=rules.audit.output,
        code=code("data.split"),
    output:
        expand(
            "results/{{dataset}}/splits/{split}.json", split=["train", "val", "test"]
        ),
    log:
        "results/{dataset}/logs/split.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=P.split.model_dump_json(),
        output=subpath(output[0], parent=True),
    shell:
        "monolayer split --annotations {input.annotations} --audit {input.audit}"
        " --params {params.settings:q} --output {params.output} --log {log}"
