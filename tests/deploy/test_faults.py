import pytest
from faults import FAULTS, suffer


# How soon it comes is measured by `faults.py`, on a machine that does nothing else; that trouble is
# answered in the tick in which it is heard of is tested in `test_controller.py`.
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_brings_the_safe_action_and_the_drive_goes_on(name):
    assert suffer(FAULTS[name]).safe_after <= FAULTS[name].ticks + 15
