import math

import numpy as np
import pytest
import torch
from analytical_policy import SIZE, positive_policy, positive_tokens, recording_of

from helmsight.envs.geometry import Pose
from helmsight.eval.explain.maps import MapMaker
from helmsight.eval.explain.measures import DECISION, EpisodeMeasures, Measurer, token_sum
from helmsight.eval.explain.measuring import MeasureLog
from helmsight.eval.explain.summary import summarise_measures

POLICY = positive_policy()
USUAL = torch.zeros(SIZE**2, 3)
NAMES = ("attention", "gradient", "masking", "random")
STILL = [Pose(0.0, 0.0, 0.0)] * 8


def measured(recording, twins=()):
    measurer = Measurer(MapMaker(POLICY, USUAL, names=NAMES), stride=4, deletion_steps=4)
    return measurer.measure(recording, 3, list(twins), torch.Generator().manual_seed(0))


def test_every_measured_moment_has_one_number_a_map():
    result = measured(recording_of(positive_tokens(8), STILL))
    assert result.moments == 2
    assert set(result.values) == {
        "rank_correlation",
        "deletion_area",
        "insertion_area",
        "attention_use",
        "entropy",
        "mass_on_obstacles",
        "mass_on_target",
        "stability_variation",
        "stability_transport",
    }
    for measure, maps in result.values.items():
        names = set(NAMES) - ({"masking"} if measure == "rank_correlation" else set())
        names = {DECISION} if measure == "attention_use" else names
        assert set(maps) == names
        assert all(len(values) == 2 for values in maps.values())


def test_the_use_of_the_attention_is_how_far_an_even_one_moves_the_actions():
    tokens = positive_tokens(1)
    actions = POLICY.actions(POLICY.tokens({"tokens": tokens}))[0]
    used = measured(recording_of(tokens)).values["attention_use"][DECISION]
    assert used == pytest.approx([0.5 * float(actions.square().mean().sqrt())], rel=1e-4)


def test_masses_on_classes_follow_the_label():
    result = measured(recording_of(positive_tokens(1)))
    # The front half of the label is obstacle, and nothing is target.
    map_ahead = POLICY.attention(positive_tokens(1))[0, : SIZE**2 // 2].sum()
    assert result.values["mass_on_obstacles"]["attention"] == pytest.approx([float(map_ahead)])
    assert result.values["mass_on_target"]["attention"] == [0.0]


def test_what_does_not_move_is_stable_and_without_poses_nothing_is_said():
    tokens = positive_tokens(1).expand(8, -1, -1)
    still = measured(recording_of(tokens, STILL))
    assert still.values["stability_variation"]["attention"] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert still.values["stability_transport"]["gradient"] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert "stability_variation" not in measured(recording_of(tokens)).values


def test_twins_of_the_same_looks_do_not_shift_and_others_do():
    recording = recording_of(positive_tokens(8))
    same = measured(recording, [recording.frames[4]])
    assert same.values["shift_variation"]["attention"] == [0.0]
    assert same.values["shift_action"][DECISION] == [0.0]
    other = recording_of(positive_tokens(8, seed=9)).frames[4]
    shifted = measured(recording, [other])
    assert shifted.values["shift_variation"]["attention"][0] > 0.01
    assert shifted.values["shift_transport"]["attention"][0] > 0.01
    assert shifted.values["shift_action"][DECISION][0] > 0.0


def test_what_can_not_be_said_is_left_out():
    measures = EpisodeMeasures(0)
    measures.add("rank_correlation", "attention", [0.5, math.nan])
    assert measures.values["rank_correlation"]["attention"] == [0.5]


def test_means_are_over_moments_and_differences_in_pairs():
    first = EpisodeMeasures(0, 2, {"entropy": {"attention": [0.1, 0.3], "random": [0.5, 0.5]}})
    second = EpisodeMeasures(1, 1, {"entropy": {"attention": [0.5], "random": [0.8]}})
    summary = summarise_measures([first, second], {})
    mean, difference = summary.means["entropy"]["attention"], summary.differences["entropy"]
    assert (mean.value, mean.n) == (pytest.approx(0.3), 3)
    assert difference["random"].value == pytest.approx(-0.3)
    assert list(difference) == ["random"] and summary.subject == "attention"
    assert (summary.episodes, summary.moments) == (2, 3)


def test_mean_curves_weigh_episodes_by_their_moments():
    first = EpisodeMeasures(0, 3, curves={"random": [[0.0, 1.0], [1.0, 0.0]]})
    second = EpisodeMeasures(1, 1, curves={"random": [[0.0, 5.0], [5.0, 0.0]]})
    curves = summarise_measures([first, second], {}).curves
    assert curves == {"random": [[0.0, 2.0], [2.0, 0.0]]}


def test_the_token_sum_does_not_depend_on_how_it_is_batched():
    tokens = positive_tokens(40)
    total, count = token_sum(POLICY, recording_of(tokens).frames, "cpu")
    assert count == 40
    assert torch.allclose(total, tokens.double().sum(dim=0))


def test_measures_come_back_from_disk_and_a_torn_line_is_dropped(tmp_path):
    result = measured(recording_of(positive_tokens(8), STILL))
    with MeasureLog(tmp_path, {"seed": 0}) as log:
        log.append(result)
        with log.path.open("a") as file:
            file.write('{"episode": 9, "mom')
    with MeasureLog(tmp_path, {"seed": 0}) as log:
        again = log.read()
    assert list(again) == [3] and again[3].to_dict() == result.to_dict()
    assert log.path.read_text().endswith("\n")


def test_a_folder_with_other_measures_is_refused_by_what_differs(tmp_path):
    with MeasureLog(tmp_path, {"seed": 0, "stride": 10}) as log:
        log.append(EpisodeMeasures(0))
    refused = pytest.raises(ValueError, match="stride: 10 there, 5 asked for")
    with refused, MeasureLog(tmp_path, {"seed": 0, "stride": 5}):
        pass


def test_a_folder_in_which_nothing_was_measured_is_free_for_other_measures(tmp_path):
    with MeasureLog(tmp_path, {"stride": 10}) as log:
        log.usual(lambda: np.zeros((2, 3)))
    with MeasureLog(tmp_path, {"stride": 10}) as log:
        assert np.array_equal(log.usual(lambda: np.ones((2, 3))), np.zeros((2, 3)))
    with MeasureLog(tmp_path, {"stride": 5}) as log:
        assert np.array_equal(log.usual(lambda: np.ones((2, 3))), np.ones((2, 3)))


def test_a_second_measurer_is_refused_and_changes_nothing(tmp_path):
    with MeasureLog(tmp_path, {"seed": 0}) as log:
        log.path.write_text("half a li")
        with pytest.raises(RuntimeError, match="another process"), MeasureLog(tmp_path, {}):
            pass
        assert log.path.read_text() == "half a li"


def test_usual_tokens_are_made_once(tmp_path):
    with MeasureLog(tmp_path, {}) as log:
        first = log.usual(lambda: np.ones((2, 3)))
        assert np.array_equal(log.usual(lambda: np.zeros((2, 3))), first)
