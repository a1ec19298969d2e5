import pytest

from helmsight.envs.libero.expert.goal import parse_goal


def names(states, tables=()):
    return [(p.name, p.subject) for p in parse_goal(states, set(tables))]


def test_what_opens_comes_first_and_what_closes_last():
    states = [
        ["close", "drawer"],
        ["in", "bowl", "drawer"],
        ["on", "mug", "plate"],
        ["open", "lid"],
    ]
    assert [name for name, _ in names(states)] == ["open", "on", "in", "close"]


def test_things_are_put_on_the_table_before_they_are_put_on_things():
    states = [["on", "mug", "plate"], ["on", "plate", "table_left"]]
    assert names(states, ["table_left"]) == [("on", "plate"), ("on", "mug")]


def test_goals_of_one_kind_keep_their_order():
    states = [["in", "soup", "basket"], ["in", "cheese", "basket"]]
    assert names(states) == [("in", "soup"), ("in", "cheese")]


def test_a_predicate_is_said_again_as_the_parser_said_it():
    for state in (["in", "milk_1", "basket_1_contain_region"], ["turnon", "flat_stove_1"]):
        assert parse_goal([state], set())[0].words() == state


@pytest.mark.parametrize("state", [["stack", "a", "b"], ["open", "a", "b"], ["in", "a"]])
def test_an_unknown_goal_is_refused_with_those_that_are_known(state):
    with pytest.raises(ValueError, match=r"unknown goal .* knows open/1, close/1"):
        parse_goal([state], set())
