"""What runs on and beside a robot: a policy server, a controller loop and its safety.

Only `torch_model` and `export` need torch; everything else runs on a robot's computer with numpy,
msgpack, websockets and onnxruntime. Nothing here imports a simulator or a trainer.
"""
