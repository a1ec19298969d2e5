import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helmsight.envs.geometry import Pose
from helmsight.envs.parking.birds_eye import BirdsEyeLabeller
from helmsight.envs.parking.motion_model import bicycle_motion
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import CAMERA_RIGS, parking_embodiment
from helmsight.training.mirroring import Mirroring, mirror_partners

EMBODIMENT = parking_embodiment("surround4", 32)
ALL = torch.tensor([True])


def names(rig):
    cameras = CAMERA_RIGS[rig]
    return {cameras[i].name: cameras[j].name for i, j in enumerate(mirror_partners(cameras))}


def random_batch(size=3):
    generator = torch.Generator().manual_seed(0)

    def integers(*shape):
        return torch.randint(0, 256, (size, *shape), generator=generator).byte()

    batch = {key: integers(32, 32, 3) for key in EMBODIMENT.image_keys}
    batch |= {key: integers(16, 16).int() for key in EMBODIMENT.depth_keys}
    return batch | {
        "observation.birds_eye": integers(200, 200),
        "observation.state": torch.randn(size, 8, generator=generator),
        "action": torch.randn(size, 4, 3, generator=generator),
        "simulator.state": torch.randn(size, 6, 5, generator=generator),
        "action_is_pad": torch.zeros(size, 4, dtype=torch.bool),
    }


def test_left_and_right_cameras_change_places_and_the_others_stay():
    assert names("surround4") == {
        "front": "front",
        "left": "right",
        "right": "left",
        "rear": "rear",
    }
    assert names("surround6")["rear_left"] == "rear_right"


def test_a_rig_without_symmetry_is_refused_by_camera():
    lopsided = dataclasses.replace(EMBODIMENT, cameras=EMBODIMENT.cameras[:2])
    with pytest.raises(ValueError, match=r"camera left has no mirror image.*mirror=0"):
        Mirroring(lopsided, 0.5, seed=0)


def test_a_rig_without_symmetry_is_fine_where_nothing_is_mirrored():
    lopsided = dataclasses.replace(EMBODIMENT, cameras=EMBODIMENT.cameras[:2])
    batch = random_batch()
    assert Mirroring(lopsided, 0.0, seed=0)(batch, 0).keys() == batch.keys()


def test_mirroring_twice_gives_back_every_value():
    batch, mirroring = random_batch(), Mirroring(EMBODIMENT, 0.5, seed=0)
    chosen = torch.tensor([True, False, True])
    twice = mirroring.mirror(mirroring.mirror(batch, chosen), chosen)
    assert all(torch.equal(twice[key], batch[key]) for key in batch)


def test_samples_that_are_not_chosen_stay_as_they_are():
    batch = random_batch()
    once = Mirroring(EMBODIMENT, 0.5, seed=0).mirror(batch, torch.tensor([True, False, True]))
    changed = [key for key in batch if key != "action_is_pad"]
    assert all(torch.equal(once[key][1], batch[key][1]) for key in changed)
    assert not any(torch.equal(once[key][0], batch[key][0]) for key in changed)


def test_the_draw_is_a_function_of_seed_and_step():
    batch, mirroring = random_batch(64), Mirroring(EMBODIMENT, 0.5, seed=1)
    first, again, other = mirroring(batch, 3), mirroring(batch, 3), mirroring(batch, 4)
    assert torch.equal(first["action"], again["action"])
    assert not torch.equal(first["action"], other["action"])


@given(speed=st.floats(-2.0, 2.0), steering=st.floats(-0.6, 0.6), target_y=st.floats(-8.0, 8.0))
def test_the_tracked_target_moves_in_the_mirror_as_it_does_outside(speed, steering, target_y):
    target = Pose(2.0, target_y, 0.7)
    after = bicycle_motion(speed, steering, 0.1).relative(target)
    mirrored = Pose(target.x, -target.y, -target.yaw)
    after_mirrored = bicycle_motion(speed, -steering, 0.1).relative(mirrored)
    expected = (after.x, -after.y, -after.yaw)
    assert np.allclose(after_mirrored, expected, atol=1e-9)


@given(
    x=st.floats(-8.0, 8.0), y=st.floats(-8.0, 8.0), z=st.floats(0.0, 3.0), index=st.integers(0, 3)
)
def test_a_mirrored_point_shows_at_the_flipped_pixel_of_the_partner(x, y, z, index):
    camera = EMBODIMENT.cameras[index]
    partner = EMBODIMENT.cameras[mirror_partners(EMBODIMENT.cameras)[index]]
    seen, mirrored = in_optical_frame(camera, (x, y, z)), in_optical_frame(partner, (x, -y, z))
    # Right is left in the picture; down and the distance stay.
    assert np.allclose(mirrored, seen * (-1.0, 1.0, 1.0), atol=1e-9)


def in_optical_frame(camera, point):
    return camera.rotation().T @ (np.array(point) - camera.position)


def test_the_label_of_a_mirrored_lot_is_the_flipped_label():
    scenario = make_scenario("cluttered", "val", 3, "reverse")
    box = scenario.boxes[0].pose
    car = Pose(box.x - 3.0, box.y - 1.0, 0.0)  # looks along the aisle
    label = torch.from_numpy(BirdsEyeLabeller(scenario).label(car))[None]
    mirrored = Mirroring(EMBODIMENT, 1.0, seed=0).mirror({"observation.birds_eye": label}, ALL)
    row, column = 100 - 30, 100 - 10  # the box, 3 m ahead and 1 m to the left, in cells of 0.1 m
    assert label[0, row, column] == 1
    assert mirrored["observation.birds_eye"][0, row, 199 - column] == 1
