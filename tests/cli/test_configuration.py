import re
from pathlib import Path

import pytest
import yaml

import helmsight.configs
from helmsight.cli.configuration import configuration
from helmsight.cli.main import COMMANDS, main

CONFIGS = Path(helmsight.configs.__path__[0])
CONFIGURED = sorted(path.name for path in CONFIGS.iterdir() if (path / "config.yaml").is_file())
COLLECT = ["out=somewhere", "episodes=3"]


def refused(command, words):
    with pytest.raises(ValueError) as caught:
        configuration(command, words)
    return str(caught.value)


def test_words_change_the_defaults():
    values = configuration("collect", [*COLLECT, "workers=5", "families.cluttered=0"])
    assert values["episodes"] == 3
    assert values["workers"] == 5
    assert values["families"] == {"standard": 0.5, "cluttered": 0}


def test_an_unknown_key_is_refused_with_the_nearest_one():
    message = refused("collect", [*COLLECT, "epsiodes=4"])
    assert "unknown key 'epsiodes'; did you mean 'episodes'?" in message


def test_an_unknown_nested_key_is_refused_with_the_nearest_one():
    message = refused("train", ["data=a", "out=b", "policy.widht=3"])
    assert "did you mean 'policy.width'?" in message


def test_words_for_the_commands_that_a_command_calls_are_passed_on():
    values = configuration("sweep", ["data=D", "out=O", "evaluate.blank_cameras=true"])
    assert values["evaluate"]["blank_cameras"] is True
    assert "unknown key 'evaluated.episodes'" in refused(
        "sweep", ["data=D", "out=O", "evaluated.episodes=3"]
    )


def test_a_choice_and_an_option_below_it_are_both_passed_on():
    words = ["train.policy=privileged", "train.policy.width=128"]
    for given in (words, words[::-1]):
        train = configuration("sweep", ["data=D", "out=O", *given])["train"]
        assert (train["policy"], train["policy.width"]) == ("privileged", 128)


def test_of_two_words_for_one_key_the_last_is_passed_on():
    words = ["train.max_steps=3", "train.max_steps=4"]
    assert configuration("sweep", ["data=D", "out=O", *words])["train"]["max_steps"] == 4


def test_a_mapping_that_is_passed_on_changes_the_entries_that_it_names():
    collect = configuration("demo", ["collect.families={standard: 0.5}"])["collect"]
    assert (collect["families.standard"], collect["families.cluttered"]) == (0.5, 0.0)


def test_several_values_in_a_word_that_is_passed_on_are_refused():
    message = refused("sweep", ["data=D", "out=O", "train.seed=1,2"])
    assert "train.seed=1,2 holds several values" in message


def test_a_folder_that_is_passed_on_may_have_any_name():
    values = configuration("sweep", ["data=D", "out=O", "train.teacher=runs/a, b=(1)"])
    assert values["train"]["teacher"] == "runs/a, b=(1)"


def test_an_unknown_key_without_a_near_one_is_answered_with_all_keys():
    message = refused("collect", [*COLLECT, "qqqq=4"])
    assert "did you mean" not in message
    assert "approaches" in message and "workers" in message


@pytest.mark.parametrize("word", ["+epsiodes=4", "++epsiodes=4", "~epsiodes=4"])
def test_hydra_signs_let_no_unknown_key_through(word):
    assert "unknown key 'epsiodes'" in refused("collect", [*COLLECT, word])


def test_a_missing_key_is_named():
    message = refused("collect", ["episodes=3"])
    assert message.startswith("not given: out=...")
    assert "helmsight collect --help" in message


def test_an_unknown_choice_of_a_group_names_the_choices():
    message = refused("train", ["data=a", "out=b", "policy=parkin"])
    assert "policy/parkin" in message
    assert "parking" in message and "state" in message


def test_a_word_without_a_value_is_refused():
    assert "expected KEY=VALUE, got 'episodes'" in refused("collect", ["out=a", "episodes"])


@pytest.mark.parametrize("command", CONFIGURED)
def test_help_lists_every_key_of_a_command(command, capsys):
    assert configuration(command, ["--help"]) is None
    text = capsys.readouterr().out
    keys = set()
    for file in (CONFIGS / command).rglob("*.yaml"):
        keys |= set(yaml.safe_load(file.read_text())) - {"defaults"}
    absent = [key for key in keys if not re.search(rf"^{re.escape(key)}:", text, re.MULTILINE)]
    assert not absent


def test_a_part_of_a_command_has_keys_of_its_own():
    assert configuration("carla serve", ["port=0"]) == {"port": 0}
    with pytest.raises(ValueError, match="unknown key 'episodes'"):
        configuration("carla serve", ["episodes=3"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: helmsight {command}")


@pytest.mark.parametrize("command", CONFIGURED)
def test_every_default_resolves(command):
    given = {
        "collect": COLLECT,
        "train": ["data=a", "out=b", "max_steps=1"],
        "eval": ["checkpoint=a", "out=b"],
        "explain": ["checkpoint=a", "out=b"],
        "sweep": ["data=a", "out=b"],
        "export": ["checkpoint=a", "out=b.onnx"],
        "serve": ["checkpoint=a"],
    }
    assert configuration(command, given.get(command, []))
