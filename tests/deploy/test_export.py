import numpy as np
import pytest
import torch
from serving import EMBODIMENT, ServerThread, ask, observation

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helmsight.deploy.export import compare, onnx_graph, quantised, with_metadata, write_whole
from helmsight.deploy.model import MEMORY_KEY, ModelError, Recollection
from helmsight.deploy.onnx_model import OnnxModel
from helmsight.deploy.torch_model import TorchModel
from helmsight.policies.modules.birds_eye import DepthBins, Grid
from helmsight.policies.modules.cost_to_go import CostToGoConfig
from helmsight.policies.modules.course_guard import CourseGuardConfig
from helmsight.policies.modules.map_memory import MapMemoryConfig
from helmsight.policies.modules.way_out import WayOutConfig
from helmsight.policies.parking import ParkingPolicy, ParkingPolicyConfig
from tests.policies.manipulation_batches import INSTRUCTIONS, tiny_observation
from tests.policies.manipulation_batches import tiny_policy as tiny_arm_policy

TINY = {
    "width": 16,
    "image_channels": 8,
    "image_blocks": 1,
    "decoder_layers": 1,
    "depth": DepthBins(0.5, 12.5, 8),
    "grid": Grid(16, 10.0),
}
ORIGIN = {"checkpoint": "tiny", "policy": "parking", "sha256": "0", "quantize": "none"}


def tiny(**config):
    statistics = {"observation.state": {"mean": [0.1] * 8, "std": [1.5] * 8}}
    return ParkingPolicy(ParkingPolicyConfig(**{**TINY, **config}), EMBODIMENT, statistics).eval()


REMEMBERING = {
    "image_stride": 4,
    "guard": CourseGuardConfig(enabled=True, threshold=0.3, widen=0.3),
    "memory": MapMemoryConfig(enabled=True, half_extent=8.0, cell=0.5),
}
COARSE = CostToGoConfig(half_extent=6.0, cell=0.6, headings=16, turning_radius=4.5, iterations=8)
LED_OUT = {**REMEMBERING, "way_out": WayOutConfig(enabled=True, after=2, again=2, costs=COARSE)}
VARIANTS = {
    "cameras": {},
    "lift_splat": {"birds_eye": "lift_splat"},
    "fine": {"image_stride": 4},
    "guarded": {"guard": CourseGuardConfig(enabled=True, threshold=0.3, widen=0.3)},
    "nothing": {"sees": "nothing"},
    "target_speed": {"sees": "nothing", "head": "target_speed"},
    "control_tokens": {"sees": "nothing", "head": "control_tokens"},
}


@pytest.fixture(scope="module", params=VARIANTS)
def policy(request):
    return tiny(**VARIANTS[request.param])


def test_the_file_decides_as_the_policy_does(policy):
    exported = OnnxModel(with_metadata(onnx_graph(policy), policy, ORIGIN))
    seen = [observation(seed) for seed in range(4)]
    own, theirs = TorchModel(policy).decide(seen), exported.decide(seen)
    np.testing.assert_allclose(theirs, own, atol=1e-5)
    assert compare(policy, exported, seen).difference < 1e-5


def test_another_policy_is_found_to_decide_otherwise(blind):
    other = OnnxModel(with_metadata(onnx_graph(tiny(sees="nothing")), blind, ORIGIN))
    found = compare(blind, other, [observation(seed) for seed in range(2)], repeats=2)
    assert found.observations == 2 and found.difference > 1e-2


@pytest.fixture(scope="module")
def blind():
    return tiny(sees="nothing")


@pytest.fixture
def file(blind, tmp_path):
    write_whole(tmp_path / "policy.onnx", with_metadata(onnx_graph(blind), blind, ORIGIN))
    return tmp_path / "policy.onnx"


def test_the_file_carries_what_a_server_must_know(blind, file):
    model = OnnxModel(file)
    assert not model.embodiment.differences(EMBODIMENT)
    assert list(model.observation_keys) == blind.observation_keys()
    assert model.steps_per_decision == blind.steps_per_decision
    assert model.about["provenance"] == ORIGIN and model.name == "tiny"


def test_the_file_is_served_to_several_robots_together(file):
    state = observation()["observation.state"]
    model = OnnxModel(file)
    with ServerThread(model) as server, server.connect() as one, server.connect() as other:
        replies = [ask(robot, {"observation.state": state}) for robot in (one, other)]
    for reply in replies:
        np.testing.assert_array_equal(
            reply["actions"], model.decide([{"observation.state": state}])[0]
        )


def test_exporting_leaves_the_policy_as_it_was(blind):
    before = TorchModel(blind).decide([observation()])
    known = blind.diagnostics()["waypoints"]
    onnx_graph(blind)
    np.testing.assert_array_equal(blind.diagnostics()["waypoints"], known)
    np.testing.assert_array_equal(TorchModel(blind).decide([observation()]), before)


def test_integer_weights_make_the_file_smaller_and_change_the_actions_a_little():
    policy = tiny(width=32)
    graph = onnx_graph(policy)
    exact, coarse = (with_metadata(g, policy, ORIGIN) for g in (graph, quantised(graph)))
    assert len(coarse) < len(exact)
    seen = [observation(seed) for seed in range(4)]
    own, theirs = TorchModel(policy).decide(seen), OnnxModel(coarse).decide(seen)
    assert 0.0 < np.abs(own - theirs).max() < 0.5


def test_a_file_remembers_as_its_policy_does():
    policy = tiny(**REMEMBERING)
    exported = OnnxModel(with_metadata(onnx_graph(policy), policy, ORIGIN))
    kept = [Recollection(), Recollection()]
    for seed in range(4):
        decided = [
            model.decide([{**observation(seed), MEMORY_KEY: one}])
            for model, one in zip((TorchModel(policy), exported), kept, strict=True)
        ]
        np.testing.assert_allclose(decided[1], decided[0], atol=1e-4)
        np.testing.assert_allclose(kept[1].values, kept[0].values, atol=1e-4)
    assert kept[0].values.max() > 0.0
    exported.warm_up()
    assert compare(policy, exported, [observation(seed) for seed in range(3)]).difference < 1e-4


def test_a_file_leads_a_stuck_car_out_as_its_policy_does():
    policy = tiny(**LED_OUT)
    exported = OnnxModel(with_metadata(onnx_graph(policy), policy, ORIGIN))
    assert [node.op_type for node in onnx_graph(policy).graph.node].count("If") == 1
    standing = {**observation(0), "observation.state": np.zeros(8, np.float32)}
    standing["observation.state"][5:8] = (4.0, 1.5, 0.3)  # the target's x, y and yaw
    kept = [Recollection(), Recollection()]
    taken = []
    for _ in range(6):
        decided = [
            model.decide([{**standing, MEMORY_KEY: one}])
            for model, one in zip((TorchModel(policy), exported), kept, strict=True)
        ]
        np.testing.assert_allclose(decided[1], decided[0], atol=1e-4)
        np.testing.assert_allclose(kept[1].values, kept[0].values, atol=1e-3)
        taken.append(bool(kept[0].values[-4]))
    assert taken == [False, False, True, True, True, True]


def test_a_policy_that_reads_a_label_is_not_exported():
    with pytest.raises(ValueError, match=r"observation\.birds_eye, which no sensor gives"):
        onnx_graph(tiny(sees="label"))


def test_a_file_follows_the_instructions_that_its_policy_knew():
    policy = tiny_arm_policy()
    exported = OnnxModel(with_metadata(onnx_graph(policy), policy, ORIGIN))
    told = [tiny_observation(instruction) for instruction in INSTRUCTIONS]
    own, theirs = TorchModel(policy).decide(told), exported.decide(told)
    np.testing.assert_allclose(theirs, own, atol=1e-5)
    assert np.abs(own[0] - own[1]).max() > 1e-3
    exported.warm_up()


def test_an_instruction_that_a_file_does_not_know_is_refused_with_those_it_knows():
    policy = tiny_arm_policy()
    exported = OnnxModel(with_metadata(onnx_graph(policy), policy, ORIGIN))
    with pytest.raises(ModelError, match="'wash up'; it knows 'pick up the milk'"):
        exported.decide([tiny_observation("wash up")])


def test_what_is_no_exported_policy_is_named(blind, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        OnnxModel(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match="no readable ONNX file"):
        OnnxModel(tmp_path / "text.onnx")
    with pytest.raises(ValueError, match="none of `helmsight export`"):
        OnnxModel(onnx_graph(blind).SerializeToString())


def test_nothing_unfinished_is_left(file):
    assert [path.name for path in file.parent.iterdir()] == ["policy.onnx"]


def test_a_policy_that_decides_nan_is_not_exported(blind):
    broken = tiny(sees="nothing")
    exported = OnnxModel(with_metadata(onnx_graph(blind), blind, ORIGIN))
    with torch.no_grad():
        next(broken.chunk_read_out.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="own actions are not finite"):
        compare(broken, exported, [observation(0)])


def test_a_file_that_decides_nan_is_found_to_differ(blind):
    broken = tiny(sees="nothing")
    with torch.no_grad():
        next(broken.chunk_read_out.parameters()).fill_(float("nan"))
    exported = OnnxModel(with_metadata(onnx_graph(broken), broken, ORIGIN))
    found = compare(blind, exported, [observation(0), observation(1)])
    assert not found.difference <= 1.0
