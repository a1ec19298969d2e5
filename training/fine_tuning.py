"""Training that begins with the weights of a model that was trained before."""

from __future__ import annotations

from pathlib import Path

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import Statistics, TrainedModel, load_model, load_policy, misfits
from helmsight.policies.plain_config import differences
from helmsight.training.data import MakePolicy


def beginning_with(start: TrainedModel, make_policy: MakePolicy) -> MakePolicy:
    """What `make_policy` makes, with the weights of `start`.

    The scales of states and actions stay those of `start`: in others its weights would mean
    something else. Instructions and losses are the new training's own. Other options that differ
    are printed: a guard that `start` had is not taken over.

    What is returned raises ValueError where `start` is of another type, for another robot, of
    another shape or trained with other `options_of_weights`, naming what differs.
    """

    def make(embodiment: EmbodimentSpec, statistics: Statistics) -> TrainedModel:
        _require_same_robot(start.embodiment, embodiment)
        scales = {key: start.statistics[key] for key in statistics if key in start.statistics}
        model = make_policy(embodiment, {**statistics, **scales})
        if model.type_name != start.type_name:
            raise ValueError(
                f"start holds a {start.type_name} model; policy={model.type_name} can not begin "
                "with its weights"
            )
        changed = _changed_options(start, model)
        _copy_weights(start, model, changed)
        if changed:
            print(f"start differs in: {'; '.join(changed.values())}")
        return model

    return make


def learning_from(teacher: str | Path, make_policy: MakePolicy) -> MakePolicy:
    """What `make_policy` makes, taught by the policy in a run folder or a saved policy's.

    What is returned raises ValueError for a policy that learns from none, or not from this one.
    """

    def make(embodiment: EmbodimentSpec, statistics: Statistics) -> TrainedModel:
        pupil = make_policy(embodiment, statistics)
        learn_from = getattr(pupil, "learn_from", None)
        if learn_from is None:
            raise ValueError(f"policy={pupil.type_name} learns from no teacher; leave teacher out")
        learn_from(load_policy(teacher))
        return pupil

    return make


def prepared(
    make_policy: MakePolicy, start: str | Path | None, teacher: str | Path | None
) -> MakePolicy:
    """What `make_policy` makes, with the weights that a training is told to begin with.

    The teacher comes last: with both, the eyes are those of `start` and what drives is the
    teacher's, with the scales of states and actions that it was trained in.
    """
    made = make_policy if start is None else beginning_with(load_model(start), make_policy)
    return made if teacher is None else learning_from(teacher, made)


def _require_same_robot(start: EmbodimentSpec, data: EmbodimentSpec) -> None:
    """Less than `EmbodimentSpec.differences`: another scene's cameras may stand elsewhere."""
    for what, before, now in (
        ("state entries", start.state.names, data.state.names),
        ("action entries", start.action.names, data.action.names),
        ("cameras", tuple(start.image_keys), tuple(data.image_keys)),
    ):
        if tuple(before) != tuple(now):
            raise ValueError(
                f"start was trained with the {what} {', '.join(before)}; "
                f"the data has {', '.join(now)}"
            )


def _changed_options(start: TrainedModel, model: TrainedModel) -> dict[str, str]:
    """How the options differ, but for those of the losses.

    Raises ValueError for one of those that give the weights their meaning.
    """
    found = differences(start.config, model.config)
    found = {name: text for name, text in found.items() if not name.startswith("loss.")}
    names = model.options_of_weights
    meaning = [text for name, text in found.items() if name.split(".")[0] in names]
    if meaning:
        raise ValueError(
            f"start's weights mean something else in this policy: {'; '.join(meaning)}. "
            "Train with the options that it was trained with"
        )
    return found


def _copy_weights(start: TrainedModel, model: TrainedModel, changed: dict[str, str]) -> None:
    weights = start.state_dict()
    problems = misfits(model, weights)
    if problems:
        options = [text for name, text in changed.items() if not name.startswith("guard.")]
        shown = options or problems[:5]
        raise ValueError(
            f"start has another shape than this policy: {'; '.join(shown)} "
            f"({len(problems)} tensors differ, {problems[0]}). "
            "Train with the options that it was trained with"
        )
    model.load_state_dict(weights)
