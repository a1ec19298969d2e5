"""Parking: a car, a lot, scenarios, and the simulators that bring them to life."""
