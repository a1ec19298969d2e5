"""LIBERO demonstrations: attempts, and a whole collection of one episode."""

import dataclasses
import importlib.util
import json
from collections import Counter

import numpy as np
import pytest

from helmsight.envs.libero.package import find_assets, package_folder
from helmsight.training.collection import collect
from helmsight.training.collection.libero.settings import LiberoCollection
from helmsight.training.dataset.metadata import load_tasks
from helmsight.training.dataset.reader import LeRobotDataset

INSTALLED = package_folder() is not None and importlib.util.find_spec("robosuite") is not None
pytestmark = pytest.mark.skipif(not INSTALLED, reason="LIBERO is not installed")

NEEDS_ASSETS = pytest.mark.skipif(
    not INSTALLED or find_assets() is None, reason="LIBERO's scene assets are not here"
)


def settings(out="unused", **options):
    return LiberoCollection(out, **{"episodes": 1, "workers": 0, **options})


def test_an_attempt_depends_on_seed_round_task_and_try_alone():
    one, alone = settings(), settings(tasks=(4,))
    for turn in range(3):
        ours, theirs = one.draw_attempt(10 * turn + 4), alone.draw_attempt(turn)
        assert (ours.seed, ours.mode, ours.offset, ours.push) == (
            theirs.seed,
            theirs.mode,
            theirs.offset,
            theirs.push,
        )
    seeds = [
        one.draw_attempt(4).seed,
        one.draw_attempt(5).seed,
        one.draw_attempt(14).seed,
        settings(seed=1).draw_attempt(4).seed,
        settings(round=2).draw_attempt(4).seed,
        settings(suite="libero_goal").draw_attempt(4).seed,
    ]
    assert len(set(seeds)) == len(seeds)


def test_tasks_take_turns_and_shares_are_kept():
    wanted = settings(displaced=0.5, disturbed=0.25, swapped=0.1)
    attempts = [wanted.draw_attempt(number) for number in range(1000)]
    assert set(Counter(attempt.task for attempt in attempts).values()) == {100}
    assert 0.20 < sum(attempt.mode == "disturbed" for attempt in attempts) / 1000 < 0.30
    assert 0.45 < sum(attempt.offset is not None for attempt in attempts) / 1000 < 0.55
    assert 0.06 < sum(attempt.swapped for attempt in attempts) / 1000 < 0.14
    assert all((attempt.push is None) == (attempt.mode != "disturbed") for attempt in attempts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "libero_objects"}, "unknown suite 'libero_objects'; the suites are"),
        ({"tasks": (11,)}, "libero_object has no task 11; its tasks are"),
        ({"tasks": (1, 1)}, "each task once"),
        ({"render": "raytraced"}, "render must be official or fast"),
        ({"placement": "anywhere"}, "placement must be region or benchmark"),
        ({"displaced": 2.0}, "displaced must be a share"),
        ({"image_size": 4}, "image_size must be 16 to 1024"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        settings(**options)


def test_every_task_has_its_quota():
    assert settings(episodes=50, tasks=(2, 7)).quotas() == {
        "libero_object/2": 50,
        "libero_object/7": 50,
    }


def test_the_state_of_a_suite_is_recorded_where_it_always_has_the_same_size():
    assert settings().features()["simulator.state"]["shape"] == [110]
    assert "simulator.state" not in settings(suite="libero_10").features()


@pytest.fixture
def blind(monkeypatch):
    """A demonstrator that makes no pictures."""
    from helmsight.training.collection.libero.demonstrator import LiberoDemonstrator

    picture = np.zeros((16, 16, 3), np.uint8)
    monkeypatch.setattr(LiberoDemonstrator, "_render", lambda *_: (picture, picture))
    return settings(tasks=(7,), image_size=16).make_demonstrator()


def attempts_of(mode):
    wanted = settings(tasks=(7,), image_size=16, disturbed=0.5, swapped=0.0)
    drawn = (wanted.draw_attempt(number) for number in range(100))
    return [attempt for attempt in drawn if attempt.mode == mode]


@NEEDS_ASSETS
def test_an_attempt_gives_the_same_whatever_came_before_it(blind):
    first, second = attempts_of("displaced")[:2]
    alone = blind.run(second).columns
    blind.run(first)
    again = blind.run(second).columns
    for key in ("action", "observation.state", "simulator.focus", "simulator.state"):
        assert np.array_equal(alone[key], again[key]), key


@NEEDS_ASSETS
def test_of_a_pushed_attempt_only_what_follows_the_push_is_recorded(blind):
    pushed = attempts_of("disturbed")[0]
    whole = blind.run(dataclasses.replace(pushed, push=None)).columns["simulator.state"]
    rest = blind.run(pushed).columns["simulator.state"]
    assert pushed.push is not None
    # The first entry is the time, in seconds; control steps take 0.05 s.
    assert rest[0, 0] - whole[0, 0] > 0.05 * (pushed.push.start + pushed.push.steps) - 0.01


@NEEDS_ASSETS
def test_every_frame_says_where_to_look_for_another_task_of_the_scene(blind):
    from helmsight.envs.libero.simulator import LiberoSimulator, LiberoState

    demonstration = blind.run(attempts_of("clean")[0])
    columns = demonstration.columns
    feature = settings(tasks=(7,)).features()["simulator.other_instruction"]
    told = demonstration.task
    simulator = LiberoSimulator("libero_object", 7)
    for frame in range(0, len(columns["action"]), 20):
        simulator.set_state(LiberoState(columns["simulator.state"][frame], np.zeros((0, 7))))
        places = simulator.object_positions()
        focus = columns["simulator.other_focus"][frame].reshape(10, 6)
        for index, instruction in enumerate(feature["info"]["instructions"]):
            thing = instruction.removeprefix("pick up the ").split(" and ")[0]
            place = places.get(f"{thing.replace(' ', '_')}_1")
            asked = place is not None and instruction != told
            expected = index if asked else -1
            assert columns["simulator.other_instruction"][frame, index] == expected
            wanted = place if asked else np.zeros(3)
            assert np.allclose(focus[index, :3], wanted, atol=1e-5)


@pytest.mark.rendering
@NEEDS_ASSETS
def test_a_collection_records_what_was_seen_and_done(tmp_path):
    from helmsight.envs.libero.embodiment import state_vector
    from helmsight.envs.libero.renderer import CameraRenderer
    from helmsight.envs.libero.simulator import LiberoSimulator, LiberoState

    wanted = settings(tmp_path, tasks=(7,), image_size=32, swapped=0.0)
    summary = collect(wanted, show_progress=False)
    assert summary.episodes == 1
    line = [json.loads(text) for text in (tmp_path / "meta/collection.jsonl").open()][-1]
    assert (line["group"], line["failure"], line["fixtures"]) == ("libero_object/7", None, {})
    data = LeRobotDataset(tmp_path)
    actions, states = data.columns("action"), data.columns("simulator.state")
    assert load_tasks(tmp_path) == ["pick up the milk and place it in the basket"]
    assert actions.shape == (line["length"], 7)
    assert np.abs(actions).max() <= 1.0
    assert set(np.unique(actions[:, 6])) == {-1.0, 1.0}
    simulator = LiberoSimulator("libero_object", 7)
    renderer = CameraRenderer(32, "fast")
    for frame in (0, len(states) // 2):
        simulator.set_state(LiberoState(states[frame], np.zeros((0, 7))))
        assert np.allclose(
            state_vector(simulator), data.columns("observation.state")[frame], atol=1e-5
        )
        picture = renderer.render(*simulator.observed())[0]
        stored = data.frames("observation.images.agentview", [frame])[0]
        assert np.abs(picture.astype(int) - stored).mean() < 12.0
    renderer.close()
    simulator.set_state(LiberoState(states[-1], np.zeros((0, 7))))
    assert simulator.is_success()


@pytest.mark.rendering
@NEEDS_ASSETS
def test_a_policy_can_be_trained_on_a_collection(tmp_path):
    from helmsight.cli.train import run

    collect(
        settings(tmp_path / "data", tasks=(7,), image_size=32, swapped=0.0), show_progress=False
    )
    words = ["policy=manipulation", f"data={tmp_path / 'data'}", f"out={tmp_path / 'run'}"]
    small = ["max_steps=1", "batch_size=4", "policy.trunk.layers=2", "validation_fraction=0"]
    assert run([*words, *small]) == 0
    assert (tmp_path / "run" / "policy" / "model.safetensors").exists()
