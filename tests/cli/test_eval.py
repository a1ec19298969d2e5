import json

import pytest

from helmsight.cli import eval as command
from helmsight.cli.main import EXIT_BAD_INPUT, main

QUICK = ["split=val", "episodes=1", "workers=1", "simulator=kinematic", "cameras=none"]
NO_FILMS = ["success_videos=0", "failure_videos=0"]


def evaluated(out, *words):
    """The summary of an evaluation on the command line."""
    assert main(["eval", *QUICK, *NO_FILMS, f"out={out}", *words]) == 0
    return json.loads((out / "summary.json").read_text())


def test_the_modular_driver_is_evaluated_with_the_options_that_were_given(tmp_path, capsys):
    words = ["policy=modular", "checkpoint=label", "policy.planner.goal_clearance=0.4"]
    summary = evaluated(tmp_path, *words)
    assert summary["metrics"]["TSR"]["value"] == 100.0
    origin = summary["provenance"]
    assert (origin["policy"], origin["perception"]) == ("modular", "true label")
    assert origin["config"]["planner"]["goal_clearance"] == 0.4
    assert origin["env_kwargs"]["birds_eye"] is True


def test_a_driver_by_name_is_evaluated_as_before(tmp_path, capsys):
    assert evaluated(tmp_path, "checkpoint=expert")["provenance"]["policy"] == "expert"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("policy.planer.margins=[0.1]", "did you mean"),
        ("policy.planner.margins=[0.1]", "an attempt needs"),
        ("policy=modulr", "modular"),
    ],
)
def test_wrong_options_of_the_modular_driver_end_in_one_line(tmp_path, capsys, word, said):
    words = ["policy=modular", "checkpoint=label", f"out={tmp_path}", word]
    if word.startswith("policy="):
        words = words[1:]
    assert main(["eval", *words]) == EXIT_BAD_INPUT
    assert said in capsys.readouterr().err


@pytest.fixture
def no_libero(monkeypatch):
    from helmsight.envs.libero.tasks import _task_names

    _task_names.cache_clear()
    monkeypatch.setattr("helmsight.envs.libero.package.package_folder", lambda: None)


def test_without_libero_one_line_says_what_to_install(tmp_path, capsys, no_libero):
    words = ["env=libero", "checkpoint=expert", f"out={tmp_path}"]
    assert main(["eval", *words]) == EXIT_BAD_INPUT
    assert "pip install --no-deps hf-libero" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["suite=libero_kitchen"], "the suites are libero_spatial"),
        (["tasks=[12]"], "9: pick up the orange juice"),
        (["episodes_per_task=51"], "must be 1 to 50, got 51"),
    ],
)
def test_what_the_benchmark_does_not_have_ends_in_the_list_of_what_it_has(
    tmp_path, capsys, monkeypatch, words, said
):
    from helmsight.envs.libero import tasks

    names = {"libero_object": [f"pick_up_the_{i}" for i in range(9)] + ["pick_up_the_orange_juice"]}
    monkeypatch.setattr(tasks, "_task_names", lambda: names)
    words = ["env=libero", "checkpoint=expert", f"out={tmp_path}", *words]
    assert main(["eval", *words]) == EXIT_BAD_INPUT
    assert said in capsys.readouterr().err


def test_episodes_of_libero_are_numbered_by_task(monkeypatch):
    from helmsight.envs.libero import tasks

    names = {"libero_object": [f"pick_up_the_{i}" for i in range(10)]}
    monkeypatch.setattr(tasks, "_task_names", lambda: names)
    values = {
        "episodes": None,
        "env_id": "helmsight/Libero-v0",
        "suite": "libero_object",
        "tasks": [2, 7],
        "episodes_per_task": 3,
    }
    assert command.episodes_to_drive(values) == [100, 101, 102, 350, 351, 352]
    assert command.episodes_to_drive({**values, "tasks": None})[-1] == 452
    assert command.episodes_to_drive({**values, "tasks": None, "episodes": [4]}) == [4]
    with pytest.raises(ValueError, match="episodes and tasks both say what to run"):
        command.episodes_to_drive({**values, "episodes": [4]})


@pytest.mark.parametrize("chosen", ["tasks=[0,4]", "episodes=[7,200]"])
def test_a_suite_of_one_goal_can_not_be_swapped(chosen, monkeypatch, tmp_path):
    from helmsight.envs.libero import instructions, tasks

    names = {"libero_spatial": [f"pick_up_the_bowl_{place}" for place in range(10)]}
    monkeypatch.setattr(tasks, "_task_names", lambda: names)
    monkeypatch.setattr(instructions, "task_goal", lambda task: (("on", "bowl", "plate"),))
    words = ["env=libero", "suite=libero_spatial", "instruction=swapped", "checkpoint=expert"]
    with pytest.raises(ValueError, match="libero_spatial has none for its tasks 0, 4"):
        command.run([*words, chosen, f"out={tmp_path / 'out'}"])


@pytest.mark.parametrize("episodes", ["[5000]", "[3,-1]", "97"])
def test_scenarios_that_there_are_not_are_refused_before_any_drive(episodes, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="scenario"):
        command.run(["checkpoint=expert", f"episodes={episodes}", f"out={out}"])
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["checkpoint=parking-s", "env=libero"], "parking-s drives a car .* and an arm is to be"),
        (["checkpoint=libero-object-s"], "libero-object-s drives an arm .* and a car is to be"),
        (["checkpoint=libero-object-s", "env=libero", "motion=motion-s"], "leave it out with env="),
        (["checkpoint=parking-s", "device=foo"], "device must be one such as cpu or cuda"),
    ],
)
def test_what_does_not_go_together_is_refused(words, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        command.run([*words, f"out={tmp_path / 'out'}"])
