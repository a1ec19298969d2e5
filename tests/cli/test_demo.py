from pathlib import Path

import pytest

from helmsight.cli import demo
from helmsight.cli.configuration import configuration
from helmsight.cli.demo import override_words
from helmsight.policies.pretrained import pretrained_names


@pytest.fixture
def commands(monkeypatch):
    """Replaces the three commands; holds what they were called with and what they return."""

    class Commands:
        called: list = []  # noqa: RUF012  a fresh class each test
        codes: dict = {}  # noqa: RUF012

        def named(self, name):
            def run(words):
                self.called.append((name, words))
                return self.codes.get(name, 0)

            return run

    commands = Commands()
    monkeypatch.setattr(demo, "_command", commands.named)
    return commands


def test_it_collects_then_trains_then_evaluates(commands):
    assert demo.run([]) == 0
    assert [name for name, _ in commands.called] == ["collect", "train", "eval", "eval"]


def test_a_policy_that_comes_along_drives_the_same_scenarios(commands):
    demo.run([])
    own, beside = (configuration("eval", words) for _, words in commands.called[2:])
    assert beside["checkpoint"] in pretrained_names()
    assert {key: own[key] for key in own if key not in ("checkpoint", "out")} == {
        key: beside[key] for key in own if key not in ("checkpoint", "out")
    }
    assert own["out"] != beside["out"]


def test_each_command_accepts_the_words_it_gets(commands):
    demo.run(["out='some where/it\\'s here'"])
    values = {name: configuration(name, words) for name, words in commands.called[:3]}
    assert configuration(*commands.called[3]) is not None
    out = Path("some where/it's here")
    assert values["train"]["data"] == values["collect"]["out"] == str(out / "data")
    assert values["eval"]["checkpoint"] == values["train"]["out"] == str(out / "policy")


def test_the_policy_looks_before_it_moves_and_does_not_wait_for_ever(commands):
    demo.run([])
    guard = configuration("train", commands.called[1][1])["policy"]["guard"]
    assert guard["enabled"] and guard["threshold"] == 0.7


def test_demonstrations_are_of_the_standard_family(commands):
    demo.run([])
    collected = configuration("collect", commands.called[0][1])
    assert collected["families"] == {"standard": 1.0, "cluttered": 0.0}


def test_a_reported_number_never_rests_on_the_simulators_truth(commands):
    demo.run([])
    evaluated = configuration("eval", commands.called[2][1])
    assert evaluated["env_options"]["target"] == "tracked"
    assert evaluated["env_options"]["split"] == "test"


def test_its_parts_can_be_changed(commands):
    demo.run(["collect.episodes=4", "train.max_minutes=0.5"])
    assert configuration("collect", commands.called[0][1])["episodes"] == 4
    assert configuration("train", commands.called[1][1])["max_minutes"] == 0.5


def test_an_interrupted_step_ends_the_demo(commands, capsys):
    commands.codes["train"] = 130
    assert demo.run([]) == 130
    assert [name for name, _ in commands.called] == ["collect", "train"]
    assert "Done" not in capsys.readouterr().out


def test_it_ends_with_the_report_and_what_to_try_next(commands, capsys):
    demo.run([])
    text = capsys.readouterr().out
    assert str(Path("runs/demo/evaluation/report.html").resolve()) in text
    assert "helmsight train policy=state data=runs/demo/data" in text


def test_values_become_words_that_hydra_reads_back():
    words = override_words({"a": {"b": 1.5, "c": True}, "d": [1, "x y"], "e": None})
    assert list(words) == ["a.b=1.5", "a.c=true", "d=[1,'x y']", "e=null"]


def test_a_wrong_word_is_refused_before_any_work(commands):
    with pytest.raises(ValueError, match="unknown key 'max_minuts'"):
        demo.run(["train.max_minuts=1"])
    assert commands.called == []
