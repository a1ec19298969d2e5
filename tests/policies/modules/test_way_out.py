from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as functional
from lots_about_targets import HALF_EXTENT, KERB, ROW, world
from torch import Tensor

from helmsight.policies.modules.course_guard import CourseGuardConfig, Situation
from helmsight.policies.modules.map_memory import Body
from helmsight.policies.modules.way_out import Surroundings, WayOut, WayOutConfig, own_pose

CONFIG = WayOutConfig(enabled=True)
WAY_OUT = WayOut(CONFIG, CourseGuardConfig(threshold=0.5), Body(3.75, 0.95, 1.95), 10.0)
PERIOD = 0.1
WAITING = (-0.4, 0.0, 0.0)


LOT = world(*ROW, KERB, (11.6, 14.0, -12.0, 12.0))


@dataclass
class Car:
    """A bicycle in the target's frame."""

    x: float
    y: float
    yaw: float
    speed: float = 0.0
    steering: float = 0.0

    def drive(self, acceleration: float, steer: float, reverse: float) -> None:
        turn = steer * 0.61 - self.steering
        self.steering += max(-0.15, min(0.15, turn))
        way = -1.0 if reverse >= 0.5 else 1.0
        if acceleration > 0.0:
            self.speed += way * 2.5 * acceleration * PERIOD
        else:
            slower = min(abs(self.speed), -6.0 * acceleration * PERIOD)
            self.speed -= math.copysign(slower, self.speed)
        step = self.speed * PERIOD
        self.yaw += step * math.tan(self.steering) / 2.9
        self.x += step * math.cos(self.yaw)
        self.y += step * math.sin(self.yaw)

    def target(self) -> Tensor:
        """The target's pose [1, 3] in the car's frame."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x, y = -(cos * self.x + sin * self.y), sin * self.x - cos * self.y
        return torch.tensor([[x, y, -self.yaw]])

    def sees(self, lot: Tensor) -> Situation:
        axis = 10.0 - (torch.arange(64) + 0.5) * (20.0 / 64)
        ahead, aside = torch.meshgrid(axis, axis, indexing="ij")
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        places = torch.stack(
            [self.x + cos * ahead - sin * aside, self.y + sin * ahead + cos * aside], dim=2
        )
        around = functional.grid_sample(
            lot[:, None], places[None] / HALF_EXTENT, align_corners=False
        )[:, 0]
        values = (self.speed, self.steering, 0.2, math.hypot(self.x, self.y))
        return Situation(around, *(torch.tensor([value]) for value in values))


def decide(
    car: Car, lot: Tensor, memory: Tensor, way_out: WayOut = WAY_OUT
) -> tuple[list[float], Tensor]:
    surroundings = Surroundings(car.target(), lot, HALF_EXTENT)
    action, memory = way_out(torch.tensor([WAITING]), car.sees(lot), surroundings, memory)
    return action[0].tolist(), memory


def waits(car: Car, lot: Tensor, decisions: int, way_out: WayOut = WAY_OUT) -> list[float]:
    """The action after so many decisions in one place."""
    memory, action = torch.zeros(1, way_out.size), list(WAITING)
    for _ in range(decisions):
        action, memory = decide(car, lot, memory, way_out)
    return action


def touches(car: Car, lot: Tensor) -> bool:
    """Whether the car's body stands in something."""
    along, across = torch.meshgrid(
        torch.linspace(-0.95, 3.75, 24), torch.linspace(-0.97, 0.97, 11), indexing="ij"
    )
    cos, sin = math.cos(car.yaw), math.sin(car.yaw)
    x, y = car.x + cos * along - sin * across, car.y + sin * along + cos * across
    columns, rows = (((value + HALF_EXTENT) * 5).long() for value in (x, y))
    return bool(lot[0, rows, columns].any())


@pytest.mark.parametrize(
    ("lot", "car"),
    [
        (LOT, Car(6.8, -3.0, 2.0)),
        (torch.maximum(LOT, world((8.2, 8.8, -2.6, -2.0))), Car(6.4, 3.0, -1.2)),
    ],
    ids=["athwart", "before a box"],
)
def test_a_car_that_waits_for_ever_is_led_into_its_slot(lot: Tensor, car: Car) -> None:
    car = dataclasses.replace(car)
    memory = torch.zeros(1, WAY_OUT.size)
    for _ in range(450):
        action, memory = decide(car, lot, memory)
        car.drive(*action)
        assert not touches(car, lot)
        if math.hypot(car.x, car.y) < 0.7 and car.speed == 0.0:
            break
    assert abs(car.x) < 0.75 and abs(car.y) < 0.6
    assert abs(math.remainder(car.yaw, 2.0 * math.pi)) < math.radians(8.0)
    assert action[0] <= 0.0 and action[2] == 1.0  # it stops, in reverse


def test_until_it_has_waited_for_long_the_policy_drives() -> None:
    car = Car(6.5, 4.5, -math.pi / 2)
    assert waits(car, LOT, CONFIG.after) == pytest.approx(WAITING)
    assert waits(car, LOT, CONFIG.after + 1) != pytest.approx(WAITING)


def test_a_car_that_gets_on_is_left_alone() -> None:
    car, memory = Car(6.5, 8.0, -math.pi / 2, speed=0.6), torch.zeros(1, WAY_OUT.size)
    for _ in range(2 * CONFIG.after):
        action, memory = decide(car, LOT, memory)
        assert action == pytest.approx(WAITING)
        car.drive(0.0, 0.0, 0.0)  # it rolls
        assert car.speed == 0.6


def test_a_car_that_has_parked_is_left_alone() -> None:
    assert waits(Car(0.3, 0.1, 0.02), LOT, CONFIG.after + 5) == pytest.approx(WAITING)


def test_where_there_is_no_way_the_policy_gets_the_wheel_back() -> None:
    walled = torch.maximum(LOT, world((4.0, 4.6, -14.0, 14.0)))
    asked = waits(Car(8.0, 0.0, 1.5), walled, CONFIG.after + 1)
    assert asked[0] == -1.0  # it brakes while it plans once more, boldly
    assert waits(Car(8.0, 0.0, 1.5), walled, CONFIG.after + 5) == pytest.approx(WAITING)


def test_in_the_wrong_gear_before_its_slot_it_changes_gear_at_once() -> None:
    car, memory = Car(3.0, 0.0, 0.0), torch.zeros(1, WAY_OUT.size)
    farthest = 0.0
    for _ in range(CONFIG.after + 60):
        action, memory = decide(car, LOT, memory)
        car.drive(*action)
        farthest = max(farthest, car.x)
    assert farthest < 3.2 and abs(car.x) < CONFIG.arrived


def test_a_parked_car_plans_no_more() -> None:
    car, memory = Car(1.5, 0.0, 0.0), torch.zeros(1, WAY_OUT.size)
    for _ in range(CONFIG.after + 40):
        action, memory = decide(car, LOT, memory)
        car.drive(*action)
    assert car.speed == 0.0 and action[0] < 0.0 and action[2] == 1.0
    costs = memory[:, :-8]
    for _ in range(CONFIG.after + 10):
        _, memory = decide(car, LOT, memory)
    assert torch.equal(memory[:, :-8], costs)


def test_cars_of_a_batch_do_not_mix() -> None:
    cars = [Car(6.5, 4.5, -math.pi / 2), Car(0.2, 0.0, 0.0)]
    memory = torch.zeros(2, WAY_OUT.size)
    for _ in range(CONFIG.after + 1):
        seen = [car.sees(LOT) for car in cars]
        situation = Situation(*(torch.cat(parts) for parts in zip(*seen, strict=True)))
        target = torch.cat([car.target() for car in cars])
        surroundings = Surroundings(target, LOT.expand(2, -1, -1), HALF_EXTENT)
        actions, memory = WAY_OUT(torch.tensor([WAITING] * 2), situation, surroundings, memory)
    for action, car in zip(actions.tolist(), cars, strict=True):
        assert action == pytest.approx(waits(car, LOT, CONFIG.after + 1), abs=1e-5)


def test_the_own_pose_is_the_targets_turned_round() -> None:
    car = Car(3.0, -2.0, 0.7)
    found = own_pose(car.target())
    assert [float(entry) for entry in found] == pytest.approx([3.0, -2.0, 0.7], abs=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"after": 0}, {"again": 0}, {"steers": 1}, {"speed": 0.0}, {"hesitation": 1.2}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"way_out.{next(iter(wrong))}"):
        WayOutConfig(**wrong)  # type: ignore[arg-type]
