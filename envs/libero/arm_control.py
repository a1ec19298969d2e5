"""The torques of robosuite's operational-space controller, without what robosuite does around it.

The law is Khatib 1987's with position and orientation decoupled and a null-space posture. Goals,
readings and matrices are the controller's own and each number is computed as robosuite does, so
the motion is the same to the bit (tested). What is left out took most of its time: histories for
sensors that nobody reads, and names, limits and indices looked up anew in each of 25 substeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArmControl:
    """Drives the arm and gripper of a robosuite environment, from one reset to the next."""

    def __init__(self, environment: Any) -> None:
        from robosuite.utils import control_utils

        robot, names = environment.robots[0], environment.sim.model
        self._law = control_utils
        self._controller, self._gripper = robot.controller, robot.gripper
        self._data = environment.sim.data._data
        # As arrays they select several times faster than as lists.
        robot.controller.qvel_index = self._arm = np.array(robot.controller.qvel_index)
        robot.controller.qpos_index = np.array(robot.controller.qpos_index)
        self._motors = np.array(robot._ref_joint_actuator_indexes)
        self._low, self._high = robot.torque_limits
        self._fingers = [names.actuator_name2id(name) for name in robot.gripper.actuators]
        limits = names.actuator_ctrlrange[self._fingers]  # [2, 2]: low and high of each finger
        self._middle = 0.5 * (limits[:, 1] + limits[:, 0])
        self._reach = 0.5 * (limits[:, 1] - limits[:, 0])
        self._closing = np.zeros(2)

    def aim(self, action: NDArray[np.float64]) -> None:
        """Set the goal of a control step from an action [7]."""
        self._controller.set_goal(action[:6])
        self._closing = np.array([-1.0, 1.0]) * self._gripper.speed * np.sign(action[6:])

    def push(self) -> None:
        """Write the torques and the fingers' positions of one substep into MuJoCo's controls.

        MuJoCo must have derived positions and velocities from the state before.
        """
        torques = np.minimum(np.maximum(self._torques(), self._low), self._high)
        told = np.minimum(np.maximum(self._gripper.current_action + self._closing, -1.0), 1.0)
        self._gripper.current_action = told
        self._data.ctrl[self._fingers] = self._middle + self._reach * told
        self._data.ctrl[self._motors] = torques

    def _torques(self) -> NDArray[np.float64]:
        """Torques [7] towards the goal: J^T (Lambda (kp error - kd velocity)) + bias + posture."""
        arm, law = self._controller, self._law
        arm.update()
        force = (arm.goal_pos - arm.ee_pos) * arm.kp[:3] + -arm.ee_pos_vel * arm.kd[:3]
        turn = law.orientation_error(arm.goal_ori, arm.ee_ori_mat)
        torque = turn * arm.kp[3:6] + -arm.ee_ori_vel * arm.kd[3:6]
        _, position_inertia, orientation_inertia, null_space = law.opspace_matrices(
            arm.mass_matrix, arm.J_full, arm.J_pos, arm.J_ori
        )
        wrench = np.concatenate(
            [np.dot(position_inertia, force), np.dot(orientation_inertia, torque)]
        )
        torques = np.dot(arm.J_full.T, wrench) + self._data.qfrc_bias[self._arm]
        torques += law.nullspace_torques(
            arm.mass_matrix, null_space, arm.initial_joint, arm.joint_pos, arm.joint_vel
        )
        arm.torques = torques
        # What has been read is used; the next call reads anew.
        arm.new_update = True
        return torques
