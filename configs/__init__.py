"""Hydra configuration: a folder a command, in it `config.yaml` and one group a concept."""
