import json

import pytest

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
