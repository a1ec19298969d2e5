"""The same moment in another look: what a decision should not depend on is drawn a second time.

A policy that wants it (`wants_other_look`) gets every image twice, each augmented for itself. What
the augmentation can change (light, colours, haze, stains, noise) then differs between the two;
what it can not (shadows, the ground's texture) does not.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from helmsight.envs.spec import EmbodimentSpec
from helmsight.policies.base import OTHER_LOOK
from helmsight.training.augmentation import Augmentation, AugmentationSettings

_SEED_OFFSET = 500_009


class OtherLook:
    """Callable `(batch, step) -> images` under `other_look.` keys, drawn apart from the first.

    Raises ValueError for an augmentation that is off: both looks would be the same.
    """

    def __init__(
        self, settings: AugmentationSettings, embodiment: EmbodimentSpec, seed: int
    ) -> None:
        if settings.strength == 0.0:
            raise ValueError(
                "consistency between two looks needs augmentation.strength above 0; "
                "without augmentation both looks are the same"
            )
        self._augmentation = Augmentation(settings, embodiment.state, seed + _SEED_OFFSET)
        self._keys = embodiment.image_keys

    def __call__(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """The batch's images [B, H, W, 3] in another look."""
        images = {key: batch[key] for key in self._keys}
        changed = self._augmentation(images, step)
        return {f"{OTHER_LOOK}{key}": changed[key] for key in self._keys}
