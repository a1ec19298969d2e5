"""The modular baseline: seen semantics -> occupancy -> Hybrid A* -> path tracker, replanned.

    observation -> Perception -> OccupancyGrid -> ModularPlanner -> PathTracker -> action

What the published comparison calls the modular pipeline (arXiv 2509.11090), without its handicap:
there steering is zero on the forward part. Planner and tracker are the parking expert's own, so the
two differ in what they know of the world and in nothing else.
"""
