import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from helmsight.cli.configuration import configuration

PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@pytest.mark.parametrize(
    ("command", "word", "message"),
    [
        ("eval", "workers=abc", "workers must be a whole number, got 'abc'"),
        ("eval", "workers=1.5", "workers must be a whole number, got 1.5"),
        ("eval", "episodes=[0,x]", "episodes must be a whole number or a list of them or null"),
        ("eval", "episodes=true", "episodes must be a whole number or a list"),
        ("eval", "image_size=abc", "image_size must be a whole number or null"),
        ("train", "learning_rate=abc", "learning_rate must be a number"),
        ("train", "max_steps=abc", "max_steps must be a whole number or null"),
        ("train", "betas=0.9", "betas must be a list"),
        ("collect", "families.standard=abc", r"families\.standard must be a number"),
        ("collect", "depth=3", "depth must be true or false"),
        ("serve", "request_seconds=abc", "request_seconds must be a number"),
        ("eval", "out=", "out must name a file or a folder"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_key(command, word, message):
    needed = {"train": ["data=D"], "collect": ["episodes=3"]}.get(command, ["checkpoint=C"])
    out = [] if command == "serve" else ["out=O"]
    with pytest.raises(ValueError, match=message):
        configuration(command, [*needed, *out, word])


def test_a_value_that_needs_quotes_is_told_them():
    with pytest.raises(ValueError, match=r"baseline='policy\.width=32'\"$"):
        configuration("sweep", ["data=D", "out=O", "baseline=policy.width=32"])


@pytest.mark.parametrize(
    "word", ["max_steps=null", "max_steps=3", "learning_rate=1", "mirror=0.5", "mirror=null"]
)
def test_what_fits_is_taken(word):
    configuration("train", ["data=D", "out=O", word])


@settings(max_examples=40, deadline=None)
@given(PATHS)
@example("O/it's (1), a\\b\\")
@example("runs/width=32")
@example("5")
@example("INF")
def test_a_path_is_taken_as_it_is_written(path):
    assume(not path.startswith(("[", "'", '"')) and path != "null")
    assume("${" not in path)  # an interpolation
    values = configuration("eval", ["checkpoint=C", f"out={path}"])
    assert values["out"] == path


def test_a_share_of_another_approach_can_be_given():
    values = configuration("collect", ["out=O", "episodes=3", "approaches.forward=0.5"])
    assert values["approaches"] == {"reverse": 1.0, "forward": 0.5}
