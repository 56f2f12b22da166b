"""Results in a bucket, and jobs as pods: the profiles for S3 and Kubernetes, on a server that stands in for S3."""

from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import boto3
import pytest
import yaml
from checkouts import Checkout, contents
from paths import ROOT
from test_record import free_port, server

pytestmark = pytest.mark.workflow
PLUGINS = ("snakemake_storage_plugin_s3", "snakemake_executor_plugin_kubernetes")
SECRETS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_DEFAULT_REGION": "us-east-1"}
PREFIX = "s3://results/monolayer"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of a server with an empty bucket."""
    if lacking := [plugin for plugin in PLUGINS if find_spec(plugin) is None]:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    port = free_port()
    moto = Path(sys.executable).parent / "moto_server"
    with server(port, str(moto), "-H", "127.0.0.1", "-p", str(port)):
        url = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{url}/results", method="PUT")).close()
        yield url


def command(profile: str, url: str, *words: str) -> list[str]:
    options = ["--default-storage-prefix", PREFIX, "--storage-s3-endpoint-url", url]
    return ["snakemake", "--workflow-profile", f"profiles/{profile}", *options, *words]


@pytest.mark.parametrize("profile", ["s3", "kubernetes"])
def test_the_whole_run_is_planned(origin: Checkout, tmp_path: Path, bucket: str, profile: str) -> None:
    """The same jobs as on a disk, with their files in the bucket, and none of the package's: a container has those."""
    checkout = origin.clone(tmp_path / "checkout")
    plan = checkout.run(*command(profile, bucket, "--cores", "2", "--dry-run"), variables=SECRETS).stdout

    def jobs(text: str) -> list[tuple[str, str]]:
        return sorted(set(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)))

    assert jobs(plan) == jobs(checkout.snakemake("--dry-run").stdout)
    assert ".snakemake/storage/s3/results/monolayer/results/own/report.html" in plan
    assert "workflow/monolayer/" not in plan


@pytest.mark.parametrize("profile", ["s3", "kubernetes"])
def test_profiles_name_rules_that_exist(profile: str) -> None:
    found = yaml.safe_load((ROOT / f"profiles/{profile}/config.yaml").read_text())
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    for section in ("set-resources", "set-threads"):
        for name in found.get(section, {}):
            assert re.search(rf"^(rule|checkpoint) {name}:", rules, re.MULTILINE), name


def test_what_can_not_be_kept_there_is_refused(origin: Checkout, tmp_path: Path, bucket: str) -> None:
    checkout = origin.clone(tmp_path / "checkout")
    params = checkout.params()
    lab = {"family": "results", "tool": "by hand", "licence": "ours", "results": {"val": "val", "test": "test"}}
    params["models"]["lab"] = lab
    params["runs"]["lab"] = {"model": "lab", "lines": "all", "extension": None}
    checkout.set_params(params | {"selected": ["lab"]})
    done = checkout.run(*command("s3", bucket, "--cores", "2", "--dry-run"), variables=SECRETS, check=False)
    assert done.returncode != 0
    assert "neither other tools' rows (lab) nor plates can be kept there; leave them out" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_table_is_made_in_the_bucket(origin: Checkout, unbroken: Checkout, tmp_path: Path, bucket: str) -> None:
    """From the images to the scores of a trained run: the same bytes as on a disk, and nothing beside the bucket."""
    checkout = origin.clone(tmp_path / "checkout")
    table = "results/own/metrics.csv"
    checkout.run(*command("s3", bucket, "--cores", "2", "--", table), variables=SECRETS)
    keys = {"aws_access_key_id": "id", "aws_secret_access_key": "key", "region_name": "us-east-1"}
    kept = boto3.client("s3", endpoint_url=bucket, **keys)
    answer = kept.get_object(Bucket="results", Key=f"monolayer/{table}")
    assert answer["Body"].read() == contents(unbroken)["metrics.csv"]
    assert (checkout.folder / "results").is_symlink()
