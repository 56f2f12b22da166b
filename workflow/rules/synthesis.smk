# Synthetic images for train, and how far they lie from the images that they were made from.


rule extend:
    input:
        images=rules.download.output.images,
        truth="results/{dataset}/splits/train.json",
        code=code("synthesis.extend"),
    output:
        images=directory("results/{dataset}/extensions/{extension}/images"),
        annotations="results/{dataset}/extensions/{extension}/annotations.json",
    log:
        "results/{dataset}/logs/extend/{extension}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 4
    params:
        settings=lambda w: P.extend_params(w.extension).model_dump_json(),
        output=subpath(output.annotations, parent=True),
    shell:
        "monolayer extend --images {input.images} --truth {input.truth} --workers {threads}"
        " --params {params.settings:q} --output {params.output} --log {log}"


rule domain_shift:
    input:
        images=rules.download.output.images,
        truth="results/{dataset}/splits/train.json",
        extension=rules.extend.output,
        code=code("synthesis.domain_shift"),
    output:
        table="results/{dataset}/extensions/{extension}/shift.csv",
        features="results/{dataset}/extensions/{extension}/features.csv",
        distributions="results/{dataset}/extensions/{extension}/distributions.csv",
        figure="results/{dataset}/extensions/{extension}/shift.svg",
        samples="results/{dataset}/extensions/{extension}/samples.png",
    log:
        "results/{dataset}/logs/domain_shift/{extension}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 4
    params:
        settings=P.domain_shift.model_dump_json(),
        output=subpath(output.table, parent=True),
    shell:
        "monolayer domain-shift --images {input.images} --truth {input.truth} --extension {params.output}"
        " --workers {threads} --params {params.settings:q} --output {params.output} --log {log}"
