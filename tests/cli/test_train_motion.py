"""`helmsight train policy=motion`, from a data set without pictures to a model that is loaded."""

import pytest

from helmsight.cli.configuration import configuration
from helmsight.cli.train import run
from helmsight.eval.learned_motion import LearnedMotion, load_motion
from helmsight.policies.motion import MotionConfig
from helmsight.policies.plain_config import config_from_dict
from helmsight.training.collection.collect import collect
from helmsight.training.collection.parking.settings import ParkingCollection


@pytest.fixture(scope="module")
def pictureless(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "sensors"
    options = {"cameras": "none", "depth": False, "birds_eye": False, "simulator": "kinematic"}
    collect(ParkingCollection(out=out, episodes=2, workers=0, **options), show_progress=False)
    return out


def test_the_configuration_says_what_the_class_does():
    values = configuration("train", ["policy=motion", "data=data", "out=out"])["policy"]
    chosen = {key: value for key, value in values.items() if key not in ("type", "attention")}
    assert config_from_dict(MotionConfig, chosen) == MotionConfig()


def test_a_data_set_without_pictures_will_do(pictureless, tmp_path):
    out = tmp_path / "run"
    words = ["policy=motion", "policy.horizon=10", "policy.width=8", "max_steps=2", "device=cpu"]
    words += ["batch_size=8", "validation_fraction=0.0", f"data={pictureless}", f"out={out}"]
    assert run(words) == 0
    assert isinstance(load_motion(out), LearnedMotion)


def test_it_learns_from_no_teacher(pictureless, tmp_path):
    words = ["policy=motion", "max_steps=2", "device=cpu", "teacher=any"]
    with pytest.raises(ValueError, match="learns from no teacher"):
        run([*words, f"data={pictureless}", f"out={tmp_path / 'run'}"])


def test_an_attention_that_it_does_not_have_is_refused(pictureless, tmp_path):
    words = ["policy=motion", "max_steps=2", "device=cpu", "attention=jacobian"]
    with pytest.raises(ValueError, match="policy=motion has no attention over tokens"):
        run([*words, f"data={pictureless}", f"out={tmp_path / 'run'}"])
