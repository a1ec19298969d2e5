import numpy as np
import pytest
from serving import EMBODIMENT, observation

from helmsight.deploy.observation_check import ObservationChecker, ObservationError
from helmsight.deploy.wire import encode

CHECKER = ObservationChecker(EMBODIMENT, (*EMBODIMENT.image_keys, "observation.state"))
FRONT = "observation.images.front"


def refusal(changes, checker=CHECKER):
    with pytest.raises(ObservationError) as caught:
        checker.check({**observation(), **changes})
    return str(caught.value)


def state(index, value):
    values = observation()["observation.state"].copy()
    values[index] = value
    return {"observation.state": values}


def test_a_fitting_observation_passes_unchanged():
    seen = observation()
    checked = CHECKER.check({**seen, "task": "park in reverse"})
    assert checked.keys() == seen.keys()
    assert all(np.array_equal(checked[key], seen[key]) for key in seen)


def test_what_a_policy_does_not_read_may_be_absent():
    blind = ObservationChecker(EMBODIMENT, ("observation.state",))
    assert blind.check(state(0, 0.5)).keys() == {"observation.state"}


def test_what_a_policy_does_not_read_is_checked_all_the_same():
    blind = ObservationChecker(EMBODIMENT, ("observation.state",))
    assert FRONT in refusal({FRONT: np.zeros(3, np.uint8)}, blind)


@pytest.mark.parametrize("key", CHECKER.required)
def test_a_missing_key_is_named(key):
    seen = observation()
    del seen[key]
    with pytest.raises(ObservationError, match=f"lacks {key!r}"):
        CHECKER.check(seen)


def test_an_unknown_key_is_named_with_the_nearest_one():
    message = refusal({"observation.image.front": np.zeros(3)})
    assert f"unknown key 'observation.image.front'; did you mean {FRONT!r}?" in message


@pytest.mark.parametrize(
    "value",
    (
        np.zeros((16, 16, 3), np.float32),
        np.zeros((16, 17, 3), np.uint8),
        np.zeros((3, 16, 16), np.uint8),
        np.zeros((1, 16, 16, 3), np.uint8),
    ),
)
def test_an_image_of_another_shape_or_type_is_named(value):
    assert f"{FRONT!r} must be uint8 [16, 16, 3], got {value.dtype}" in refusal({FRONT: value})


@pytest.mark.parametrize("value", (1, "text", None, [1, 2], {"a": 1}, np.float32(1.0)))
def test_what_is_no_array_is_named(value):
    assert f"{FRONT!r} must be an array" in refusal({FRONT: value})


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf, 10.5, -1e30))
def test_a_state_that_is_not_finite_or_out_of_range_is_named(value):
    assert "entry 'speed' must be in [-10, 10] m/s" in refusal(state(0, value))


def test_the_ends_of_the_range_are_inside():
    for index, (low, high) in enumerate(
        zip(EMBODIMENT.state.low, EMBODIMENT.state.high, strict=True)
    ):
        CHECKER.check({**observation(), **state(index, low)})
        CHECKER.check({**observation(), **state(index, high)})


def test_a_state_too_large_for_its_type_is_out_of_range():
    huge = np.full(EMBODIMENT.state.size, 1e300)
    assert "entry 'speed'" in refusal({"observation.state": huge})


@pytest.mark.parametrize("value", (np.zeros(7, np.float32), np.zeros(8, np.int64)))
def test_a_state_of_another_shape_or_type_is_named(value):
    assert "'observation.state' must be float32 [8]" in refusal({"observation.state": value})


@pytest.mark.parametrize("value", (5, "x" * 1001))
def test_a_task_that_is_no_short_text_is_named(value):
    assert "'task' must be text" in refusal({"task": value})


def test_a_policy_that_reads_what_no_sensor_gives_is_refused():
    with pytest.raises(ValueError, match=r"reads observation\.birds_eye, which no sensor"):
        ObservationChecker(EMBODIMENT, ("observation.birds_eye",))


def test_the_longest_message_is_just_long_enough():
    longest = {**observation(), "task": "\N{ROBOT FACE}" * 1000}
    longest["observation.state"] = longest["observation.state"].astype(np.float64)
    size = len(encode(longest))
    assert size <= CHECKER.max_message_bytes < size + 20_000
