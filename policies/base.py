"""What every policy answers to, and how one is saved and loaded.

A saved policy, or another model that is trained for a robot, is a folder:

    config.json          {"type": "parking", "config": {...}}
    model.safetensors    weights and buffers, loaded strictly
    statistics.json      the data set's statistics that the normalisation was made from
    embodiment.json      the robot it was trained for
"""

from __future__ import annotations

import abc
import dataclasses
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.explainable import Explainable, NothingToExplainError
from helmsight.policies.plain_config import config_from_dict
from helmsight.policies.pretrained import policy_folder, read_embodiment, read_part

# Images and vectors as arrays; an instruction as a string, or in a batch as a sequence of them.
Observation = Mapping[str, Any]
TASK_KEY = "task"
# An instruction by its place among those that the policy knows, where there is no sentence.
TASK_INDEX_KEY = "task_index"
Statistics = dict[str, dict[str, list[float]]]

# Prefix of the keys of the same images in another look, in training batches.
OTHER_LOOK = "other_look."

_REGISTRY: dict[str, type[TrainedModel]] = {}
Registered = TypeVar("Registered", bound="TrainedModel")


def register(name: str) -> Callable[[type[Registered]], type[Registered]]:
    """Class decorator: makes a model known to `load_model` under a name."""

    def add(model: type[Registered]) -> type[Registered]:
        model.type_name = name
        _REGISTRY[name] = model
        return model

    return add


class TrainedModel(nn.Module, abc.ABC):
    """What is trained on windows of recorded frames, and saved together with its robot.

    Subclasses are built from (config dataclass, embodiment, statistics) and say by `input_keys`
    and `window_offsets` what they want to be fed in training.
    """

    type_name: ClassVar[str]
    config_class: ClassVar[type]
    # Whether `know_instructions` is to be told the instructions of the training data.
    follows_instructions: ClassVar[bool] = False
    # Options that give the weights their meaning: weights of equal shape do not fit another value.
    options_of_weights: ClassVar[tuple[str, ...]] = ()
    # Features that not every data set has, and the option that trains without them.
    optional_inputs: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Any, embodiment: EmbodimentSpec, statistics: Statistics) -> None:
        super().__init__()
        self.config = config
        self.embodiment = embodiment
        self.statistics = statistics

    @abc.abstractmethod
    def input_keys(self) -> list[str]:
        """Data-set keys that `forward` reads."""

    @abc.abstractmethod
    def window_offsets(self) -> dict[str, list[int]]:
        """Frame offsets wanted of the keys that are read over a window of time."""

    @abc.abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its named parts, scalars."""

    @property
    def wants_other_look(self) -> bool:
        """Whether training batches shall hold every image a second time, in another look."""
        return False

    @property
    def known_instructions(self) -> tuple[str, ...]:
        """Instructions that are followed without a language model; none for most models."""
        return ()

    def know_instructions(self, embeddings: Mapping[str, Sequence[float]]) -> None:
        """Take the embedding of each instruction of the training data, by its task index."""
        raise ValueError(f"a model of type {self.type_name!r} follows no instructions")

    def save(self, folder: Path) -> None:
        """Write the model into `folder`, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"type": self.type_name, "config": dataclasses.asdict(self.config)}
        _write_json(folder / "config.json", config)
        _write_json(folder / "embodiment.json", self.embodiment.to_dict())
        _write_json(folder / "statistics.json", self.statistics)
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        # Through bytes: safetensors' own files are readable to their owner alone.
        (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights))


class Policy(TrainedModel):
    """Observation in, chunk of actions out."""

    def __init__(self, config: Any, embodiment: EmbodimentSpec, statistics: Statistics) -> None:
        super().__init__(config, embodiment, statistics)
        self._queue: deque[Tensor] = deque()
        self._memory: Tensor | None = None

    @abc.abstractmethod
    def predict_action_chunk(self, observation: dict[str, Tensor]) -> Tensor:
        """Actions [B, K, A] in physical units, within the embodiment's range."""

    @property
    @abc.abstractmethod
    def steps_per_decision(self) -> int:
        """How many actions of a chunk are executed before the next decision."""

    @abc.abstractmethod
    def observation_keys(self) -> list[str]:
        """Observation keys that a decision reads."""

    @property
    def memory_size(self) -> int:
        """Numbers M that a decision hands on to the next; 0 for a policy that remembers nothing."""
        return 0

    def decide(self, observation: dict[str, Tensor], memory: Tensor) -> tuple[Tensor, Tensor]:
        """A chunk as `predict_action_chunk`, and the memory [B, M] for the next decision.

        memory: what the decision before handed on; `blank_memory` at the beginning.
        """
        return self.predict_action_chunk(observation), memory

    def blank_memory(self, observation: dict[str, Tensor]) -> Tensor:
        """The memory [B, M] that knows nothing, for a batch of observations."""
        state = observation["observation.state"]
        return state.new_zeros(len(state), self.memory_size)

    def diagnostics(self) -> dict[str, NDArray[Any]]:
        """What the last decision (first of its batch) saw: attention maps, predictions."""
        return {}

    def explainable(self) -> Explainable:
        """The policy as explanations see it. NothingToExplainError: it has nothing to show."""
        raise NothingToExplainError(f"a policy of type {self.type_name!r} can not be explained")

    def stay_where_stuck(self) -> None:
        """From now on do without whatever leads the robot out where the network itself is stuck.

        For who wants to see where that is; most policies have no such thing.
        """

    def reset(self) -> None:
        """Forget what is left of the last chunk, and what was seen: a new episode begins."""
        self._queue.clear()
        self._memory = None

    @property
    def needs_observation(self) -> bool:
        """Whether the next `select_action` decides anew, and so reads its observation."""
        return not self._queue

    @torch.no_grad()
    def select_action(self, observation: dict[str, Tensor]) -> Tensor:
        """The next action [B, A]: from the current chunk, or from a new one when it is used up."""
        if not self._queue:
            chunk = self._next_chunk(observation)
            self._queue.extend(chunk.transpose(0, 1)[: self.steps_per_decision])
        return self._queue.popleft()

    def _next_chunk(self, observation: dict[str, Tensor]) -> Tensor:
        if self.memory_size == 0:
            return self.predict_action_chunk(observation)
        if self._memory is None or len(self._memory) != len(observation["observation.state"]):
            self._memory = self.blank_memory(observation)
        chunk, self._memory = self.decide(observation, self._memory)
        return chunk

    def predict(
        self,
        observation: Observation,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], tuple[NDArray[Any], ...] | None]:
        """Actions as stable-baselines3's `predict` gives them, for one observation or a batch."""
        if episode_start is not None and bool(np.any(episode_start)):
            self.reset()
        state_vector = observation.get("observation.state")
        single = state_vector is None or state_vector.ndim == 1
        batch = self.to_batch(observation, single)
        action = self.select_action(batch).cpu().numpy()
        return (action[0] if single else action), state

    def to_batch(self, observation: Observation, single: bool = True) -> dict[str, Any]:
        """Tensors of the keys that a decision reads, on the policy's device, batched.

        An instruction becomes a list of strings.

        Raises KeyError naming a missing key, ValueError naming a key of another shape or type than
        the embodiment's.
        """
        device = next(self.parameters()).device
        batch: dict[str, Any] = {}
        for key in self.observation_keys():
            if key not in observation:
                raise KeyError(
                    f"the observation lacks {key!r}; it has {', '.join(sorted(observation))}"
                )
            if key == TASK_KEY:
                batch[key] = _instructions(observation[key], single)
                continue
            values = np.ascontiguousarray(observation[key])
            self._check_observed(key, values if single else values[0])
            if values.dtype == np.float64:
                values = values.astype(np.float32)
            tensor = torch.from_numpy(values).to(device)
            batch[key] = tensor.unsqueeze(0) if single else tensor
        return batch

    def _check_observed(self, key: str, values: NDArray[Any]) -> None:
        """Refuse one observed value (not a batch) that the embodiment could not have made."""
        cameras = dict(zip(self.embodiment.image_keys, self.embodiment.cameras, strict=True))
        if key in cameras:
            shape: tuple[int, ...] = (cameras[key].height, cameras[key].width, 3)
            kind: type[np.generic] = np.uint8
        elif key == "observation.state":
            shape, kind = (self.embodiment.state.size,), np.floating
        else:
            return
        if values.shape != shape or not np.issubdtype(values.dtype, kind):
            raise ValueError(
                f"{key!r} must be {kind.__name__} {list(shape)}, "
                f"got {values.dtype} {list(values.shape)}"
            )


def _instructions(value: Any, single: bool) -> list[str]:
    """An observation's instruction, or those of a batch, as a list of strings."""
    given = [value] if single or isinstance(value, str) else list(value)
    given = [entry.item() if isinstance(entry, np.generic) else entry for entry in given]
    if not all(isinstance(entry, str) and entry.strip() for entry in given):
        raise ValueError(f"{TASK_KEY!r} must be a sentence, got {value!r}")
    return given


def load_policy(path: Path | str) -> Policy:
    """Load a policy from its folder, from a run that holds one as `policy/`, or by its name.

    Raises FileNotFoundError when there is none, and ValueError when what is there does not drive,
    or naming the key when the configuration or the weights do not fit.
    """
    model = load_model(path)
    if not isinstance(model, Policy):
        raise ValueError(f"{path} holds a {model.type_name} model, which drives nothing")
    return model


def load_model(path: Path | str) -> TrainedModel:
    """`load_policy` for any trained model, whether it drives or not."""
    folder = policy_folder(path)
    saved, statistics = (read_part(folder, name) for name in ("config.json", "statistics.json"))
    embodiment = read_embodiment(folder)
    try:
        model_class = policy_type(saved["type"])
        config = config_from_dict(model_class.config_class, saved["config"])
        model = model_class(config, embodiment, statistics)
    except KeyError as error:
        raise ValueError(f"{folder} holds a damaged policy: {error} is missing in it") from error
    load_weights(model, folder / "model.safetensors")
    return model.eval()


def policy_type(name: str) -> type[TrainedModel]:
    """The registered class of that name."""
    import helmsight.policies.manipulation
    import helmsight.policies.motion
    import helmsight.policies.parking  # noqa: F401  registers the policies that come along

    if name not in _REGISTRY:
        raise ValueError(f"unknown policy type {name!r}; known are {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name]


def load_weights(model: nn.Module, file: Path) -> None:
    """Load weights strictly; a mismatch is a ValueError that names the tensors."""
    try:
        weights = safetensors.torch.load_file(file)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{file} is no readable safetensors file: {error}") from error
    problems = misfits(model, weights)
    if problems:
        raise ValueError(f"{file} does not fit its configuration: " + "; ".join(problems))
    model.load_state_dict(weights)


def misfits(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """One line a tensor that is missing, too many or of another shape than the model's."""
    expected = model.state_dict()
    problems = [f"missing tensor {name}" for name in sorted(expected.keys() - weights.keys())]
    problems += [f"unexpected tensor {name}" for name in sorted(weights.keys() - expected.keys())]
    return problems + [
        f"tensor {name} has shape {tuple(weights[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]


def _write_json(file: Path, data: Any) -> None:
    file.write_text(json.dumps(data, indent=2) + "\n")
