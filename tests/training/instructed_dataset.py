"""A data set in which only the instruction says which of two things the arm is to go for.

A red and a blue square stand at the left and at the right of the picture, which is where by chance.
The demonstrator moves towards the one that the instruction names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helmsight.envs.spec import CameraSpec, EmbodimentSpec, VectorSpec
from helmsight.training.dataset.format import embodiment_features
from helmsight.training.dataset.instructions import INSTRUCTIONS_PATH, instruction_embeddings
from helmsight.training.dataset.staging import stage_episode
from helmsight.training.dataset.writer import DatasetWriter

SIZE, LENGTH, RATE = 32, 6, 20
INSTRUCTIONS = ("go to the red square", "go to the blue square")
COLOURS = ((220, 40, 40), (40, 40, 220))
CAMERAS = ("agentview", "eye_in_hand")


def embodiment() -> EmbodimentSpec:
    cameras = tuple(
        CameraSpec(name, (0.0, 0.0, 1.0), 0.0, 0.0, 0.8, SIZE, SIZE) for name in CAMERAS
    )
    state = VectorSpec(("height", "finger"), ("m",) * 2, (-2.0,) * 2, (2.0,) * 2)
    action = VectorSpec(("aside", "gripper"), ("1",) * 2, (-1.0,) * 2, (1.0,) * 2)
    return EmbodimentSpec("pointer", RATE, cameras, state, action)


def scene(red_is_left: bool, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """One observation's images, uint8 [SIZE, SIZE, 3]; the wrist's camera shows no square."""
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    for colour, left in zip(COLOURS, (red_is_left, not red_is_left), strict=True):
        column = int(random.integers(1, 5)) + (0 if left else SIZE // 2)
        row = int(random.integers(4, SIZE - 14))
        picture[row : row + 10, column : column + 10] = colour
    blank = np.full((SIZE, SIZE, 3), 90, np.uint8)
    return {f"observation.images.{CAMERAS[0]}": picture, f"observation.images.{CAMERAS[1]}": blank}


def aside(red_is_left: bool, task: int) -> float:
    """The demonstrator's motion: -1 towards the left, 1 towards the right."""
    return -1.0 if red_is_left == (task == 0) else 1.0


def embed(instructions: Any) -> torch.Tensor:
    """Made-up embeddings [n, 16] of norm 1, in the place of a language model's."""
    rows = []
    for instruction in instructions:
        vector = np.random.default_rng(list(instruction.encode())).normal(size=16)
        rows.append(torch.tensor(vector / np.linalg.norm(vector), dtype=torch.float32))
    return torch.stack(rows)


def record(
    root: Path,
    episodes: int,
    tasks: tuple[str, ...] = INSTRUCTIONS,
    others: tuple[str, ...] = (),
) -> Path:
    """A data set of `episodes` episodes with both instructions and both scenes in turns.

    others: instructions that a column `other` of the data set counts, in turns after -1.
    """
    random = np.random.default_rng(0)
    spec = embodiment()
    features = embodiment_features(spec)
    if others:
        named = {"info": {"instructions": list(others)}}
        features["other"] = {"dtype": "int64", "shape": [1], "names": None, **named}
    with DatasetWriter.create(root, features, RATE, spec) as writer:
        for episode in range(episodes):
            task, red_is_left = episode % 2, episode // 2 % 2 == 0
            move = aside(red_is_left, INSTRUCTIONS.index(tasks[task]))
            frames = [scene(red_is_left, random) for _ in range(LENGTH)]
            columns = {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}
            columns["observation.state"] = random.normal(size=(LENGTH, 2)).astype(np.float32)
            columns["action"] = np.tile(np.array([move, -move], np.float32), (LENGTH, 1))
            if others:
                columns["other"] = np.arange(LENGTH)[:, None] % (len(others) + 1) - 1
            folder = writer.staging_folder / f"episode-{episode}"
            staged = stage_episode(folder, writer.features, RATE, columns, tasks[task])
            writer.commit(staged, {})
    return root


def with_embeddings(root: Path) -> Path:
    """The same data set with its instructions' embeddings beside it."""
    instruction_embeddings(root, INSTRUCTIONS, embed)
    assert (root / INSTRUCTIONS_PATH).is_file()
    return root
