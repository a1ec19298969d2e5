"""Demonstrations by an expert: attempts, recorded in worker processes, committed in order."""

from helmsight.training.collection.collect import CollectionSummary, collect
from helmsight.training.collection.settings import CollectionSettings

__all__ = ["CollectionSettings", "CollectionSummary", "collect"]
