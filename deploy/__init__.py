"""What runs on and beside a robot: a policy server, a controller loop and its safety.

Only `torch_model` needs torch; everything else runs on a robot's computer with numpy, msgpack and
websockets. Nothing here imports a simulator or a trainer.
"""
