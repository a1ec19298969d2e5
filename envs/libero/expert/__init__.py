"""The scripted LIBERO expert: goals, grips and motions from the simulator's true state."""

from helmsight.envs.libero.expert.expert import LiberoExpert

__all__ = ["LiberoExpert"]
