from __future__ import annotations

from typing import Any

import pytest
from parking_batches import tiny_policy

from helmsight.policies.modules.birds_eye import Grid
from helmsight.policies.parking import ParkingPolicyConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    (
        ({"head": "chunks"}, "unknown head 'chunks'; expected one of action_chunk"),
        ({"birds_eye": "ipm"}, "unknown birds_eye 'ipm'; expected one of sampling"),
        ({"steps_per_decision": 5}, r"steps_per_decision must be 1 to chunk \(4\), got 5"),
        ({"grid": Grid(size=48)}, "grid.size must be even and divide 128, got 48"),
        ({"grid": Grid(16, 12.0)}, r"policy\.grid\.extent must be 10, got 12: .* covers 10 m"),
    ),
)
def test_a_wrong_option_is_named_with_what_was_expected(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ParkingPolicyConfig(**changes)


def test_a_policy_without_the_label_takes_any_grid() -> None:
    assert ParkingPolicyConfig(sees="nothing", grid=Grid(16, 12.0)).grid.extent == 12.0


def test_an_unknown_sensor_is_named() -> None:
    with pytest.raises(KeyError, match=r"no entry 'spead'; the entries are speed"):
        tiny_policy(state_inputs=("spead",))
