"""Variants of a policy compared over the same episodes: outcomes, the measures of their maps."""
