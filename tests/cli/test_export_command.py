import json

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helmsight.cli.main import main
from helmsight.deploy.onnx_model import OnnxModel
from helmsight.envs.parking.vehicle import parking_embodiment
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig

QUICK = ["simulator=kinematic", "observations=3"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    config = ParkingPolicyConfig(sees="nothing", width=16, decoder_layers=1)
    statistics = {"observation.state": {"mean": [0.0] * 8, "std": [1.0] * 8}}
    ParkingPolicy(config, parking_embodiment("none", 128), statistics).save(folder)
    return folder


def test_an_exported_file_is_evaluated_as_its_checkpoint_is(checkpoint, tmp_path, capsys):
    file = tmp_path / "policy.onnx"
    assert main(["export", f"checkpoint={checkpoint}", f"out={file}", *QUICK]) == 0
    assert "largest difference" in capsys.readouterr().out
    assert OnnxModel(file).about["provenance"]["largest_difference"] <= 1e-4

    words = ["split=val", "episodes=1", "workers=1", "simulator=kinematic"]
    words += ["success_videos=0", "failure_videos=0"]
    paths = []
    for name, driver in (("own", checkpoint), ("exported", file)):
        assert main(["eval", *words, f"checkpoint={driver}", f"out={tmp_path / name}"]) == 0
        (line,) = (tmp_path / name / "episodes.jsonl").read_text().splitlines()
        paths.append(json.loads(line)["path"])
    assert paths[0][-1] == pytest.approx(paths[1][-1], abs=0.01)
    origin = json.loads((tmp_path / "exported/summary.json").read_text())["provenance"]
    assert origin["policy"] == "parking (onnx)" and origin["exported_from"]


def test_a_difference_beyond_the_tolerance_writes_no_file(checkpoint, tmp_path):
    file = tmp_path / "policy.onnx"
    words = [f"checkpoint={checkpoint}", f"out={file}", "tolerance=-1"]
    assert main(["export", *words, *QUICK]) == 1
    assert not file.exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("format=tflite", "unknown format 'tflite'"),
        ("quantize=int4", "expected one of null, int8"),
        ("observations=0", "observations must be"),
        ("out=policy.pt", "must end in .onnx"),
        ("out=nowhere/policy.onnx", "there is no folder"),
    ],
)
def test_wrong_words_end_in_one_line(checkpoint, tmp_path, capsys, word, said):
    words = {"checkpoint": checkpoint, "out": tmp_path / "policy.onnx"}
    words |= dict([word.split("=")])
    assert main(["export", *(f"{key}={value}" for key, value in words.items())]) == 2
    assert said in capsys.readouterr().err


def test_an_arm_that_is_met_in_the_parking_lot_is_refused_by_its_differences(tmp_path, capsys):
    words = ["checkpoint=libero-object-s", f"out={tmp_path / 'arm.onnx'}"]
    assert main(["export", *words, *QUICK]) == 2
    said = capsys.readouterr().err
    assert "trained for another embodiment" in said and "env= names the environment" in said
    assert not (tmp_path / "arm.onnx").exists()


def test_an_exported_file_runs_on_the_cpu_alone(capsys):
    assert main(["serve", "checkpoint=policy.onnx", "device=cuda"]) == 2
    assert "runs on the CPU" in capsys.readouterr().err
