"""The parking expert: Hybrid A* with Reeds-Shepp shots, and a path tracker."""

from helmsight.envs.parking.expert.expert import ParkingExpert, PlanningFailure

__all__ = ["ParkingExpert", "PlanningFailure"]
