"""The command from end to end, on the kinematic simulator: its pictures need no OpenGL."""

import json
import re

import av
import numpy as np
import pytest

from helmsight.cli.explain import episode_numbers, parse_episode
from helmsight.cli.main import EXIT_BAD_INPUT, main
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.training.dataset.format import BIRDS_EYE_GREY_STEP, embodiment_features
from helmsight.training.dataset.staging import stage_episode
from helmsight.training.dataset.writer import DatasetWriter
from tests.policies.parking_batches import saved_policy

EMBODIMENT = parking_embodiment("surround4", 32)
QUICK = [
    "simulator=kinematic",
    "reference_episodes=1",
    "integration_steps=2",
    "deletion_steps=4",
    "stride=100",
    "reference_stride=100",
    "frame_stride=75",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def explained(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    words = [f"checkpoint={checkpoint}", f"out={out}", "episode=val/0", *QUICK]
    assert main(["explain", *words, "metrics=true", "episodes=[1]"]) == 0
    return out, words


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two recorded episodes of ten moments, with what the package itself records."""
    features = embodiment_features(EMBODIMENT)
    features["observation.birds_eye"] = {"dtype": "image", "shape": [200, 200, 1], "names": None}
    features["simulator.state"] = {"dtype": "float32", "shape": [5], "names": list("xyasw")}
    random = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("data") / "set"
    with DatasetWriter.create(root, features, 10, EMBODIMENT) as writer:
        for number in range(2):
            columns = {}
            for key, feature in features.items():
                shape = (10, *feature["shape"])
                if feature["dtype"] == "video":
                    columns[key] = random.integers(0, 256, shape, dtype=np.uint8)
                elif feature["dtype"] == "image":
                    classes = random.integers(0, 3, shape, dtype=np.uint8)
                    columns[key] = classes * np.uint8(BIRDS_EYE_GREY_STEP)
                else:
                    columns[key] = random.normal(size=shape).astype(np.float32)
            folder = writer.staging_folder / f"attempt-{number:06d}"
            staged = stage_episode(folder, writer.features, writer.fps, columns, "park")
            writer.commit(staged, {"attempt": number})
    return root


def page_data(out):
    page = (out / "explain.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found.group(1).replace("<\\/", "</"))


def test_an_episode_gives_a_page_with_every_moment_and_a_film(explained):
    out, _ = explained
    data = page_data(out)
    assert data["times"][:3] == [0.0, 7.5, 15.0]
    assert data["cameras"] == ["front", "left", "right", "rear"]
    moments = len(data["times"])
    for key in ("pictures", "labels", "targets", "actions", "waypoints", "peaks"):
        assert len(data[key]) == moments
    with av.open(str(out / "explain.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == moments


def test_the_page_asks_the_network_for_nothing(explained):
    page = (explained[0] / "explain.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="http', page)


def test_metrics_have_every_measure_with_counts(explained):
    summary = json.loads((explained[0] / "summary.json").read_text())
    assert set(summary["metrics"]) == {
        "rank_correlation",
        "deletion_area",
        "insertion_area",
        "attention_use",
        "stability_variation",
        "stability_transport",
        "entropy",
        "mass_on_obstacles",
        "mass_on_target",
        "shift_variation",
        "shift_transport",
        "shift_action",
    }
    attention = summary["metrics"]["rank_correlation"]["attention"]
    assert -1.0 <= attention["value"] <= 1.0 and attention["n"] == summary["moments"] > 0
    assert summary["provenance"]["policy"] == "parking"
    assert "gradient" in summary["differences"]["from"]["rank_correlation"]


def test_the_same_command_measures_no_episode_twice(explained):
    out, words = explained
    before = (out / "measures.jsonl").read_text()
    only = [word for word in words if not word.startswith("episode=")]
    assert main(["explain", *only, "metrics=true", "episodes=[1]"]) == 0
    assert (out / "measures.jsonl").read_text() == before


def test_other_settings_do_not_mix_into_the_same_folder(explained, capsys):
    _, words = explained
    changed = [word for word in words if not word.startswith("stride=")]
    assert main(["explain", *changed, "metrics=true", "stride=50"]) == EXIT_BAD_INPUT
    assert "stride: 100 there, 50 asked for" in capsys.readouterr().err


def test_a_recorded_episode_is_explained_with_what_was_done(checkpoint, recorded, tmp_path):
    words = [f"checkpoint={checkpoint}", f"out={tmp_path}", f"data={recorded}", *QUICK[1:-1]]
    assert (
        main(["explain", *words, "episode=1", "frame_stride=3", "metrics=true", "episodes=2"]) == 0
    )
    data = page_data(tmp_path)
    assert data["times"] == [0.0, 0.3, 0.6, 0.9] and not data["driven"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["episodes"] == 2
    assert (
        "stability_transport" in summary["metrics"] and "shift_variation" not in summary["metrics"]
    )


def test_an_episode_that_a_data_set_does_not_hold_is_refused(
    checkpoint, recorded, tmp_path, capsys
):
    words = [f"checkpoint={checkpoint}", f"out={tmp_path}", f"data={recorded}", *QUICK[1:]]
    assert main(["explain", *words, "episode=2"]) == EXIT_BAD_INPUT
    assert "holds episodes 0 to 1, got 2" in capsys.readouterr().err


def test_nothing_asked_for_is_refused(checkpoint, tmp_path, capsys):
    assert main(["explain", f"checkpoint={checkpoint}", f"out={tmp_path}"]) == EXIT_BAD_INPUT
    assert "give episode=..., metrics=true" in capsys.readouterr().err


@pytest.mark.parametrize("driver", ["expert", "nowhere"])
def test_what_is_no_trained_policy_is_refused(driver, tmp_path, capsys):
    words = [f"checkpoint={driver}", f"out={tmp_path}", "episode=val/0", *QUICK]
    assert main(["explain", *words]) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("helmsight explain: ")


@pytest.mark.parametrize(
    ("given", "recorded", "meant"),
    [
        ("val/3", False, ("val", 3)),
        (7, False, (None, 7)),
        (7, True, (None, 7)),
        (None, True, (None, None)),
    ],
)
def test_an_episode_is_a_split_and_a_number(given, recorded, meant):
    assert parse_episode(given, recorded) == meant


@pytest.mark.parametrize(
    ("given", "recorded"), [("val", False), ("/3", False), ("val/3", True), (-1, True)]
)
def test_another_episode_is_refused(given, recorded):
    with pytest.raises(ValueError, match="episode must be"):
        parse_episode(given, recorded)


def test_episodes_are_a_count_or_a_list():
    assert episode_numbers(2) == [0, 1] and episode_numbers([5, 3, 5]) == [3, 5]
    for wrong in (0, [], [-1], "all", [True]):
        with pytest.raises(ValueError, match="episodes must be"):
            episode_numbers(wrong)
