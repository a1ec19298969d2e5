"""Parking demonstrations: what an attempt does, and how it is recorded."""
