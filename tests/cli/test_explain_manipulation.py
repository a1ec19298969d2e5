"""Explaining a policy whose tokens lie in no grid, over recorded episodes."""

import json
import re

import av
import pytest
import torch

from helmsight.cli.main import main
from helmsight.policies.manipulation import ManipulationPolicy
from helmsight.training.data import LeRobotTrainingData
from helmsight.training.settings import TrainingSettings
from tests.training.instructed_dataset import INSTRUCTIONS, embed, embodiment, record
from tests.training.test_instruction_following import CONFIG

QUICK = ["frame_stride=3", "integration_steps=2", "reference_episodes=1", "reference_stride=3"]


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    data = record(folder / "data", 2)
    settings = TrainingSettings((data,), folder, max_steps=1)
    torch.manual_seed(0)
    policy = ManipulationPolicy(CONFIG, embodiment(), LeRobotTrainingData(settings).statistics)
    known = zip(INSTRUCTIONS, embed(INSTRUCTIONS).tolist(), strict=True)
    policy.know_instructions(dict(known))
    policy.save(folder / "policy")
    words = [f"checkpoint={folder / 'policy'}", f"data={data}", f"out={folder / 'out'}"]
    assert main(["explain", *words, "episode=1", *QUICK]) == 0
    return folder / "out"


def test_the_page_shows_the_maps_over_both_cameras_and_no_birds_eye(explained):
    page = (explained / "explain.html").read_text()
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    data = json.loads(found.group(1).replace("<\\/", "</"))
    assert data["cameras"] == ["agentview", "eye in hand"]
    assert (data["size"], data["cells"]) == (0, 8)
    assert {"attention", "masking", "gradient"} <= {entry["id"] for entry in data["maps"]}
    assert (data["cameraMaps"]["width"], data["cameraMaps"]["height"]) == (2, 2)
    assert data["targets"] == []


def test_the_film_can_be_played(explained):
    with av.open(str(explained / "explain.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 2
    assert frames[0].std() > 1.0
