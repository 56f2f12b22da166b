"""A run is better than its base where the paired interval says so, on enough images, and else it is not exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monolayer.evaluation import evaluate
from monolayer.evaluation.gain import gain
from monolayer.files import InputError
from monolayer.params.steps import EvaluateParams, GainParams
from test_evaluate import make_results, make_truth, write

PARAMS = EvaluateParams(protocol="livecell", n_resamples=200, seed=0, resample="image")


def verdict(tmp_path: Path, images: int, base: float, tuned: float, **changed: Any) -> dict[str, Any]:
    truth = make_truth(images)
    for image, line in zip(truth["images"], changed.pop("lines", []), strict=False):
        image["cell_line"] = line
    path = write(tmp_path / "truth.json", truth)
    params = PARAMS.model_copy(update={"resample": changed.pop("resample", "image")})
    for name, noise in (("ready", base), ("tuned", tuned)):
        results = write(tmp_path / f"{name}.results.json", make_results(truth, noise, 1))
        evaluate.evaluate((path, results), None, params, tmp_path / f"{name}.json", 2)
    seen = changed.pop("seen", {})
    models = [write(tmp_path / f"{name}.run.json", {"seen_in_test": seen.get(name, [])}) for name in ("ready", "tuned")]
    given = GainParams.model_validate({"run": "tuned", "base": "ready", "unproven": False} | changed)
    gain(path, tmp_path / "ready.json", tmp_path / "tuned.json", given, tmp_path / "gain.json", models=models)
    found: dict[str, Any] = json.loads((tmp_path / "gain.json").read_text())
    return found


def test_a_real_gain_is_exported(tmp_path: Path) -> None:
    found = verdict(tmp_path, 12, base=3.0, tuned=0.5)
    assert found["better"] is found["exported"] is True
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert "tuned against ready, mask AP on 12 test images: +0." in found["said"]


@pytest.mark.parametrize("tuned", [0.5, 3.0], ids=["alike", "worse"])
def test_no_gain_is_refused_unless_asked_for(tmp_path: Path, tuned: float) -> None:
    found = verdict(tmp_path, 12, base=0.5, tuned=tuned)
    assert found["better"] is found["exported"] is False
    assert found["said"].endswith("not shown to be better")
    found = verdict(tmp_path, 12, base=0.5, tuned=tuned, unproven=True)
    assert (found["better"], found["exported"]) == (False, True)


def test_few_images_or_wells_show_nothing(tmp_path: Path) -> None:
    """Lines with an image each are drawn as they are, so that they show nothing either."""
    found = verdict(tmp_path, 5, base=3.0, tuned=0.5)
    assert not found["better"]
    assert "nothing is shown by 5 images, for which 6 are needed" in found["said"]
    found = verdict(tmp_path, 12, base=3.0, tuned=0.5, resample="well")
    assert "nothing is shown by 4 wells" in found["said"]
    found = verdict(tmp_path, 6, base=3.0, tuned=0.5, lines=["A", "B", "C", "D", "E", "E"])
    assert not found["better"]
    assert "nothing is shown by 2 images" in found["said"]


@pytest.mark.parametrize("who", ["ready", "tuned"])
def test_images_that_were_learned_from_show_nothing(tmp_path: Path, who: str) -> None:
    """As those of an earlier round that are dealt to test now, where its model is the start."""
    found = verdict(tmp_path, 12, base=3.0, tuned=0.5, seen={who: ["3.png"]})
    assert found["better"] is found["exported"] is False
    assert "nothing is shown, as 1 of them were learned from (3.png); begin with other weights" in found["said"]
    assert found["low"] > 0
    (tmp_path / "old.json").write_text("{}")
    files = tmp_path / "truth.json", tmp_path / "ready.json", tmp_path / "tuned.json"
    given = GainParams(run="tuned", base="ready", unproven=False)
    with pytest.raises(InputError, match=r"old.json does not say which test images were learned from; train the run"):
        gain(*files, given, tmp_path / "gain.json", models=[tmp_path / "old.json", tmp_path / "old.json"])


def test_scores_of_other_images_are_refused(tmp_path: Path) -> None:
    verdict(tmp_path, 12, base=3.0, tuned=0.5)
    truth = make_truth(10)
    path = write(tmp_path / "other.json", truth)
    results = write(tmp_path / "ready.results.json", make_results(truth, 3.0, 1))
    evaluate.evaluate((path, results), None, PARAMS, tmp_path / "ready.json", 2)
    given = GainParams(run="tuned", base="ready", unproven=False)
    files = tmp_path / "truth.json", tmp_path / "ready.json", tmp_path / "tuned.json"
    with pytest.raises(InputError, match="are of other images or draws"):
        gain(*files, given, tmp_path / "gain.json", models=[])
    with pytest.raises(InputError, match="has the scores of ready, not of tuned"):
        gain(files[0], files[1], files[1], given, tmp_path / "gain.json", models=[])
