"""robosuite 1.4.0, which LIBERO is made for, on a newer MuJoCo than there was then.

Since then MuJoCo's enumerations have ceased to equal numpy's integers from the left, which fails
an assertion of robosuite's, and the inertia matrix has moved. The functions that meet this are
replaced by others of the same meaning; robosuite's files stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Numbers of a joint's type (mjtJoint: free, ball, slide, hinge) in positions and in velocities.
_POSITIONS = {0: 7, 1: 4, 2: 1, 3: 1}
_VELOCITIES = {0: 6, 1: 3, 2: 1, 3: 1}


def fit_robosuite_to_mujoco() -> None:
    """Replace what fails; call it once robosuite is imported. Calling it again changes nothing."""
    from robosuite.controllers.base_controller import Controller
    from robosuite.utils.binding_utils import MjModel

    MjModel.get_joint_qpos_addr = _position_address
    MjModel.get_joint_qvel_addr = _velocity_address
    Controller.update = _read_arm


def _position_address(model: Any, name: str) -> int | tuple[int, int]:
    """Where a joint lies in `qpos`: an index, or (start, end) of more than one number."""
    return _address(model, name, model.jnt_qposadr, _POSITIONS)


def _velocity_address(model: Any, name: str) -> int | tuple[int, int]:
    """As `_position_address`, in `qvel`."""
    return _address(model, name, model.jnt_dofadr, _VELOCITIES)


def _address(model: Any, name: str, starts: Any, sizes: Mapping[int, int]) -> int | tuple[int, int]:
    joint = model.joint_name2id(name)
    start, size = starts[joint], sizes[int(model.jnt_type[joint])]
    return start if size == 1 else (start, start + size)


def _read_arm(controller: Any, force: bool = False) -> None:
    """The arm's positions, velocities, Jacobian and inertia, as robosuite's controllers hold them.

    Nothing is read anew where the last reading has not been used, unless forced. robosuite's own
    function computes each Jacobian twice.
    """
    import mujoco

    if not (controller.new_update or force):
        return
    controller.sim.forward()
    model, data = controller.sim.model._model, controller.sim.data._data
    site = controller.sim.model.site_name2id(controller.eef_name)
    linear, angular = np.empty((3, model.nv)), np.empty((3, model.nv))
    mujoco.mj_jacSite(model, data, linear, angular, site)
    arm = controller.qvel_index
    controller.ee_pos = np.array(data.site_xpos[site])
    controller.ee_ori_mat = np.array(data.site_xmat[site]).reshape(3, 3)  # [9] -> [3, 3]
    controller.ee_pos_vel, controller.ee_ori_vel = linear @ data.qvel, angular @ data.qvel
    controller.joint_pos = np.array(data.qpos[controller.qpos_index])
    controller.joint_vel = np.array(data.qvel[arm])
    controller.J_pos, controller.J_ori = linear[:, arm], angular[:, arm]  # [3, 7] each
    controller.J_full = np.vstack([controller.J_pos, controller.J_ori])
    controller.mass_matrix = _inertia(model, data)[arm, :][:, arm]  # [nv, nv] -> [7, 7]
    controller.new_update = False


def _inertia(model: Any, data: Any) -> NDArray[np.float64]:
    """The inertia matrix [nv, nv], whichever way this MuJoCo gives it."""
    import mujoco

    inertia = np.empty((model.nv, model.nv))
    if hasattr(data, "qM"):
        mujoco.mj_fullM(model, inertia, data.qM)
    else:
        mujoco.mj_fullM(model, data, inertia)
    return inertia
