"""Placements that use the whole regions of a task's file.

The benchmark draws an object's place so that its outline stays inside its region; most regions are
hardly larger than the objects, and some objects never move at all. Here the object's origin is
drawn from all of the region, as far as nothing overlaps.
"""

from __future__ import annotations

import numpy as np

from helmsight.envs.libero.simulator import LiberoSimulator, LiberoState, Vector

_TRIES = 50
_GAP = 0.004  # between the outlines of two objects, m
_OUTLINE_DIRECTIONS = 24


def redraw_placements(
    simulator: LiberoSimulator, random: np.random.Generator, spread: float = 1.0
) -> bool:
    """Move the objects that lie on a table or floor within their regions; let them settle.

    spread: scales the regions about their middle. Returns False, with everything where it was,
    where no placement fits. What stands on or in something else stays there.
    """
    regions = _regions(simulator)
    if not regions:
        return True
    before = simulator.state()
    outlines = _outlines(simulator)
    for _ in range(_TRIES):
        places = {name: _draw(region, random, spread) for name, region in regions.items()}
        if _overlap(simulator, outlines, places):
            continue
        simulator.set_state(_moved(simulator, before, places))
        if simulator.comes_to_rest():
            return True
    simulator.set_state(before)
    return False


def _regions(simulator: LiberoSimulator) -> dict[str, Vector]:
    """Rectangles [R, 4] (x0, y0, x1, y1 in the world) of each object on a table or floor."""
    environment = simulator.robosuite
    problem = environment.parsed_problem
    origin = np.asarray(environment.workspace_offset)[:2]
    movable, regions = set(simulator.object_positions()), {}
    carriers = {state[2] for state in problem["initial_state"] if len(state) == 3}
    for state in problem["initial_state"]:
        if len(state) != 3 or state[0] != "on" or state[1] not in movable:
            continue
        region = problem["regions"].get(state[2])
        if region is None or not region["ranges"] or region["target"] in environment.obj_body_id:
            continue
        if state[1] in carriers:  # it would leave behind what stands on it
            continue
        rectangles = np.asarray(region["ranges"], float).reshape(-1, 4)
        regions[state[1]] = rectangles + np.tile(origin, 2)
    return regions


def _draw(rectangles: Vector, random: np.random.Generator, spread: float) -> Vector:
    """A point [2] in one of the rectangles [R, 4]."""
    low_x, low_y, high_x, high_y = rectangles[random.integers(len(rectangles))]
    middle = np.array([low_x + high_x, low_y + high_y]) / 2.0
    half = np.array([high_x - low_x, high_y - low_y]) / 2.0
    return middle + spread * half * random.uniform(-1.0, 1.0, 2)


def _outlines(simulator: LiberoSimulator) -> dict[str, Vector]:
    """Each thing's extent [D] in so many level directions from its origin, m."""
    from helmsight.envs.libero.expert.scene import Scene

    scene, directions = Scene(simulator), _directions()
    return {
        name: ((scene.points(name) - scene.position(name))[:, :2] @ directions.T).max(axis=0)
        for name in scene.names
    }


def _directions() -> Vector:
    angles = np.arange(_OUTLINE_DIRECTIONS) * (2.0 * np.pi / _OUTLINE_DIRECTIONS)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _overlap(
    simulator: LiberoSimulator, outlines: dict[str, Vector], places: dict[str, Vector]
) -> bool:
    """Whether two outlines touch of which one was moved: no level direction parts them."""
    environment = simulator.robosuite
    positions = {
        name: places.get(name, environment.sim.data.body_xpos[environment.obj_body_id[name]][:2])
        for name in outlines
    }
    directions = _directions()
    for moved, place in places.items():
        for other, outline in outlines.items():
            if other == moved:
                continue
            away = directions @ (positions[other] - place)  # [D]
            # The other's extent towards us is its outline in the opposite direction.
            gaps = away - outlines[moved] - np.roll(outline, _OUTLINE_DIRECTIONS // 2)
            if gaps.max() < _GAP:
                return True
    return False


def _moved(
    simulator: LiberoSimulator, state: LiberoState, places: dict[str, Vector]
) -> LiberoState:
    model, physics = simulator.sim.model._model, np.array(state.physics)
    for name, place in places.items():
        body = simulator.robosuite.obj_body_id[name]
        address = 1 + int(model.jnt_qposadr[model.body_jntadr[body]])
        physics[address : address + 2] += place - simulator.sim.data.body_xpos[body][:2]
        physics[address + 2] += 0.001
    physics[1 + model.nq :] = 0.0
    return LiberoState(physics, state.fixtures)
