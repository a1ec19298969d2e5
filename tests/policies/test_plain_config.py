from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.policies.plain_config import config_from_dict, differences, fits, flatten


@dataclass(frozen=True)
class Part:
    width: int = 3
    shares: tuple[float, ...] = (0.5,)


@dataclass(frozen=True)
class Whole:
    part: Part = field(default_factory=Part)
    rate: float = 0.1
    kind: Literal["small", "large"] = "small"
    entry: int | None = None
    enabled: bool = False
    betas: tuple[float, float] = (0.9, 0.95)


def test_nested_mappings_become_nested_dataclasses_and_lists_tuples():
    made = config_from_dict(Whole, {"part": {"width": 5, "shares": [1, 0.5]}, "rate": 1})
    assert made == Whole(Part(5, (1, 0.5)), 1)


def test_differences_are_named_by_their_options():
    found = differences(Whole(rate=0.2), Whole(Part(width=4), rate=0.2))
    assert found == {"part.width": "part.width was 3, is 4"}


def test_an_unknown_key_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="Part has no option 'widht'; did you mean 'width'"):
        config_from_dict(Whole, {"part": {"widht": 5}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"part": {"width": 1.5}}, "width must be a whole number, got 1.5"),
        ({"rate": "abc"}, "rate must be a number, got 'abc'"),
        ({"rate": None}, "rate must be a number, got None"),
        ({"kind": "huge"}, "kind must be one of small, large, got 'huge'"),
        ({"entry": "a"}, "entry must be a whole number or null, got 'a'"),
        ({"enabled": 1}, "enabled must be true or false, got 1"),
        ({"betas": [0.9]}, "betas must be a list of 2, each of it a number"),
        ({"betas": 0.9}, "betas must be a list of 2, each of it a number"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_key(values, message):
    with pytest.raises(ValueError, match=message):
        config_from_dict(Whole, values)


@given(st.integers())
def test_a_whole_number_is_a_number(value):
    assert fits(value, int) and fits(value, float) and fits(value, int | None)
    assert not fits(value, bool) and not fits(value, str)


def test_flattening_joins_keys_by_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": [3]}) == {"a.b": 1, "a.c.d": 2, "e": [3]}
