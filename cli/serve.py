"""`helmsight serve`: serve a policy to robots."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from helmsight.cli.configuration import configuration

KEY_VARIABLE = "HELMSIGHT_API_KEY"


def run(words: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit code."""
    values = configuration("serve", words)
    if values is None:
        return 0
    from helmsight.deploy.server import ServerSettings, serve_forever

    checkpoint, device, threads = (values.pop(key) for key in ("checkpoint", "device", "threads"))
    api_key = read_api_key(values.pop("api_key_file"))
    settings = ServerSettings(api_key=api_key, **values)  # refused before anything is loaded
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    serve_forever(_model(checkpoint, device, threads), settings)
    return 0


def read_api_key(file: str | None) -> str | None:
    """The API key from a file, else from the environment, else None.

    Not from the command line, where every user of the machine could read it. Raises ValueError for
    an empty file.
    """
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"api_key_file={file} cannot be read: {error}") from error
    if not key:
        raise ValueError(f"api_key_file={file} is empty")
    return key


def _model(checkpoint: str, device: str, threads: int) -> Any:
    """What decides: onnxruntime for an exported file, else torch."""
    if Path(checkpoint).suffix == ".onnx":
        from helmsight.deploy.onnx_model import OnnxModel

        if device != "cpu":
            raise ValueError(f"device={device}: an exported policy runs on the CPU (device=cpu)")
        return OnnxModel(Path(checkpoint), threads)
    import torch

    from helmsight.deploy.torch_model import load_model
    from helmsight.policies.device import usable_device

    torch.set_num_threads(threads)
    return load_model(checkpoint, usable_device(device))
