"""A server of CARLA 0.9.16's wire protocol with the MuJoCo lot behind it: `helmsight carla serve`.

The unmodified `carla` client drives it: connection, blueprints, actors, sensors, synchronous ticks.
It has neither CARLA's physics nor its pictures, so what is measured over it is labelled
`carla-protocol (MuJoCo)`.
"""
