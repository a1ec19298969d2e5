"""Who drives before the expert takes over."""

from helmsight.policies.modules.cost_to_go import CostToGoConfig
from helmsight.policies.modules.course_guard import CourseGuardConfig
from helmsight.policies.modules.map_memory import MapMemoryConfig
from helmsight.policies.modules.way_out import WayOutConfig
from helmsight.training.collection.parking.policy_driver import PolicyDriver
from tests.policies.parking_batches import tiny_policy


def test_where_a_policy_gets_stuck_it_is_not_led_out_by_a_plan(tmp_path):
    policy = tiny_policy(
        guard=CourseGuardConfig(enabled=True),
        memory=MapMemoryConfig(enabled=True),
        way_out=WayOutConfig(enabled=True, costs=CostToGoConfig(half_extent=6.0, cell=0.6)),
    )
    policy.save(tmp_path)
    driver = PolicyDriver(tmp_path, policy.embodiment)
    assert 0 < driver._policy.memory_size < policy.memory_size
