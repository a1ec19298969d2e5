"""What a collection of LIBERO demonstrations is asked to record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from helmsight.envs.libero.embodiment import libero_embodiment
from helmsight.envs.libero.package import require_assets
from helmsight.envs.libero.renderer import QUALITIES
from helmsight.envs.libero.tasks import find_task, suite_tasks
from helmsight.envs.spec import EmbodimentSpec
from helmsight.training.collection.settings import CollectionSettings, require_share
from helmsight.training.dataset.format import Features

if TYPE_CHECKING:
    from helmsight.training.collection.libero.attempt import LiberoAttempt
    from helmsight.training.collection.libero.demonstrator import LiberoDemonstrator


@dataclass(frozen=True)
class LiberoCollection(CollectionSettings):
    """Settings of one round of LIBERO demonstrations; each task is a group of its own.

    episodes: wanted of each task. suite, tasks: which; all of the suite's where `tasks` is None.
    placement: "region", objects anywhere in the regions of the task's file, or "benchmark", as the
    benchmark draws them. spread: scales the regions of "region".
    displaced: share of the attempts whose arm starts elsewhere than the benchmark's does.
    disturbed: share in which the arm is pushed off its way and only what follows is recorded.
    swapped: share in which the arm is told, and does, another task of the suite that the scene
    allows, where there is one.
    noise: standard deviation of what is added to the expert's translations in free space, in the
    action's units; the expert's own action is recorded.
    render, image_size: the pictures' quality ("official" or "fast") and size.
    """

    suite: str = "libero_object"
    tasks: tuple[int, ...] | None = None
    placement: str = "region"
    spread: float = 1.0
    displaced: float = 0.7
    disturbed: float = 0.25
    swapped: float = 0.2
    noise: float = 0.1
    render: str = "fast"
    image_size: int = 128

    SAME_COLUMNS: ClassVar[tuple[str, ...]] = ("suite", "render", "image_size")

    def __post_init__(self) -> None:
        super().__post_init__()
        tasks = tuple(task.index for task in suite_tasks(self.suite))
        if self.tasks is not None:
            tasks = tuple(find_task(self.suite, index).index for index in self.tasks)
        object.__setattr__(self, "tasks", tasks)
        if not tasks or len(set(tasks)) != len(tasks):
            raise ValueError(f"tasks must name each task once and at least one, got {tasks}")
        if self.placement not in ("region", "benchmark"):
            raise ValueError(f"placement must be region or benchmark, got {self.placement!r}")
        require_share("displaced", self.displaced)
        require_share("disturbed", self.disturbed)
        require_share("swapped", self.swapped)
        for name in ("noise", "spread"):
            if not 0.0 <= getattr(self, name) <= 5.0:
                raise ValueError(f"{name} must lie in 0 to 5, got {getattr(self, name)}")
        if self.render not in QUALITIES:
            raise ValueError(f"render must be {' or '.join(QUALITIES)}, got {self.render!r}")
        libero_embodiment(self.suite, self.image_size)

    def embodiment(self) -> EmbodimentSpec:
        return libero_embodiment(self.suite, self.image_size)

    def features(self) -> Features:
        from helmsight.training.collection.libero.recording import libero_features

        return libero_features(self)

    def quotas(self) -> dict[str, int]:
        assert self.tasks is not None
        return {group_name(self.suite, task): self.episodes for task in self.tasks}

    def draw_attempt(self, number: int) -> LiberoAttempt:
        from helmsight.training.collection.libero.attempt import draw_attempt

        return draw_attempt(self, number)

    def make_demonstrator(self) -> LiberoDemonstrator:
        from helmsight.training.collection.libero.demonstrator import LiberoDemonstrator

        return LiberoDemonstrator(self)

    def check(self) -> None:
        require_assets()

    def recorded(self) -> dict[str, Any]:
        values = super().recorded()
        assert self.tasks is not None
        # As JSON gives them back.
        return {"env": "libero", **values, "tasks": list(self.tasks)}


def group_name(suite: str, task: int) -> str:
    """The group of a task's demonstrations."""
    return f"{suite}/{task}"
