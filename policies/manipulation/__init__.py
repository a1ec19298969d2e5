"""A policy for a robot arm that follows a sentence."""

from helmsight.policies.manipulation.config import ManipulationPolicyConfig
from helmsight.policies.manipulation.policy import ManipulationPolicy

__all__ = ["ManipulationPolicy", "ManipulationPolicyConfig"]
