"""How a camera policy begins where the privileged policy that teaches it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmsight.policies.parking.view import LabelView
from helmsight.policies.plain_config import differences

if TYPE_CHECKING:
    from helmsight.policies.parking.policy import ParkingPolicy


def take_weights(pupil: ParkingPolicy, teacher: ParkingPolicy) -> None:
    """Copy all of the teacher's weights to the pupil but its view of the label.

    An attention that is trained by another signal stays the pupil's own. Raises
    ValueError for a teacher that is none, for a pupil without cameras, for another shape, and for
    other options that its weights have their meaning by.
    """
    if not pupil.sees_cameras or not isinstance(teacher.view, LabelView):
        raise ValueError(
            "a teacher must see the label (policy=privileged) and its pupil cameras "
            f"(policy=parking); these see {teacher.config.sees} and {pupil.config.sees}"
        )
    _require_same_meaning(pupil, teacher)
    own, weights = pupil.state_dict(), teacher.state_dict()
    not_taken = ["semantic_head.", "view."]
    if teacher.config.attention != pupil.config.attention:
        not_taken.append("attention.")
    for name, value in own.items():
        behind_the_eyes = name.startswith("view.birds_eye.")
        if name.startswith(tuple(not_taken)) and not behind_the_eyes:
            continue
        if name not in weights or weights[name].shape != value.shape:
            raise ValueError(f"the teacher's shape differs: {name} is missing or of other size")
        value.copy_(weights[name])


def _require_same_meaning(pupil: ParkingPolicy, teacher: ParkingPolicy) -> None:
    names = set(pupil.options_of_weights) - {"depth"}  # which the teacher has no cameras to see
    found = differences(teacher.config, pupil.config)
    changed = [text for name, text in found.items() if name.split(".")[0] in names]
    if changed:
        raise ValueError(
            f"the teacher's weights mean something else in this pupil: {'; '.join(changed)}. "
            "Train with the options that the teacher was trained with"
        )
