import pickle

import numpy as np
import pytest

from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.eval.modular.planner import PlannerConfig
from helmsight.eval.modular.policy import ModularConfig
from helmsight.eval.modular.source import ModularSource
from helmsight.eval.rollout import batch_of_one
from tests.policies.parking_batches import saved_policy

EMBODIMENT = parking_embodiment("surround4", 32)


def test_it_survives_the_way_to_a_worker(tmp_path):
    source = ModularSource(
        saved_policy(tmp_path / "policy"), ModularConfig(planner=PlannerConfig(goal_clearance=0.4))
    )
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert copy.provenance() == source.provenance()


def test_the_eyes_and_every_option_are_part_of_where_a_result_comes_from(tmp_path):
    folder = saved_policy(tmp_path / "policy")
    plain = ModularSource(folder).provenance()
    careful = ModularConfig(planner=PlannerConfig(goal_clearance=0.4))
    assert plain["policy"] == "modular"
    assert ModularSource(folder, careful).provenance()["config"] != plain["config"]
    (folder / "statistics.json").write_text("{}")
    assert ModularSource(folder).provenance()["sha256"] != plain["sha256"]
    assert "sha256" not in ModularSource("label").provenance()


def test_the_true_label_is_asked_of_the_environment_and_no_camera_policy_needs_it(tmp_path):
    assert ModularSource("label").environment_options() == {"birds_eye": True}
    assert ModularSource(tmp_path).environment_options() == {}


def test_a_camera_policy_lends_its_eyes_and_its_embodiment(tmp_path):
    driver = ModularSource(saved_policy(tmp_path / "policy")).load("cpu")
    assert driver.embodiment == EMBODIMENT
    assert set(driver.observation_keys()) == {*EMBODIMENT.image_keys, "observation.state"}
    random = np.random.default_rng(0)
    images = {key: random.integers(0, 256, (32, 32, 3), np.uint8) for key in EMBODIMENT.image_keys}
    state = np.zeros(8, np.float32)
    task = "Reverse into the target slot and stop."
    action = driver.select_action(batch_of_one({**images, "observation.state": state}, task))
    assert action.shape == (1, 3)


@pytest.mark.parametrize("sees", ["label", "nothing"])
def test_a_policy_without_cameras_has_no_eyes_to_lend(tmp_path, sees):
    with pytest.raises(ValueError, match="cannot perceive for policy=modular"):
        ModularSource(saved_policy(tmp_path / "policy", sees)).load("cpu")


def test_a_folder_without_a_policy_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no saved policy"):
        ModularSource(tmp_path).provenance()
