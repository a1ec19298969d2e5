"""Data sets, recording, the training loop and its checkpoints."""
