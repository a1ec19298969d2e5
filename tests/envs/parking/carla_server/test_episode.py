"""An episode's ticks: what is published at once, and what is drawn in parts."""

import struct

import pytest

from helmsight.envs.parking.carla_server.blueprints import BLUEPRINTS, IMU_SENSOR, RGB_CAMERA
from helmsight.envs.parking.carla_server.episode import WORLD_STREAM, Episode
from helmsight.envs.parking.carla_server.sensors import camera_spec
from helmsight.envs.parking.carla_server.wire import Transform

NAMES = [blueprint.name for blueprint in BLUEPRINTS]


def spawn(episode, name, parent=0, height=0.0, **attributes):
    values = [[key, 4, value] for key, value in attributes.items()]
    place = Transform.read([[0.0, 0.0, height], [0.0, 0.0, 0.0]])
    return episode.actors.spawn([NAMES.index(name) + 1, name, values], place, parent)


@pytest.fixture
def published():
    return []


@pytest.fixture
def episode(published):
    made = Episode(lambda stream, payload: published.append((stream, payload)), 2001)
    yield made
    made.close()


@pytest.fixture
def camera(episode):
    """A camera on a hero, with an inertial unit beside it."""
    hero = spawn(episode, "vehicle.lincoln.mkz_2017", role_name="hero")
    spawn(episode, IMU_SENSOR, hero.identity)
    camera = spawn(
        episode, RGB_CAMERA, hero.identity, 1.5, image_size_x="32", image_size_y="16", fov="90"
    )
    camera.camera = camera_spec(camera)
    return camera


def all_streams(episode):
    return [actor.stream for actor in episode.actors if actor.stream]


def test_the_state_is_published_before_anything_is_drawn(episode, camera, published):
    messages = episode.tick(lambda: all_streams(episode))
    assert [stream for stream, _ in published] == [WORLD_STREAM]
    made = list(messages)
    assert made[0] is not None and made[-1] is not None and None in made
    assert len(published) == 1


def test_the_caller_has_its_turn_between_the_parts_of_the_drawing(episode, camera):
    made = list(episode.tick(lambda: [camera.stream]))
    assert made[:-1] == [None] * (len(made) - 1) and len(made) > 3
    stream, payload = made[-1]
    assert stream == camera.stream
    assert struct.unpack_from("<II", payload, 48) == (32, 16)


def test_pictures_are_those_of_their_tick_though_the_actors_go_meanwhile(episode, camera):
    whole = list(episode.tick(lambda: [camera.stream]))[-1]
    episode.rebuild()
    messages = episode.tick(lambda: [camera.stream])
    next(messages)
    episode.actors.destroy(camera.parent)
    stream, payload = list(messages)[-1]
    assert stream == camera.stream
    # Of another frame, hence the noise; the head but for frame and time is the same.
    assert payload[24:60] == whole[1][24:60]


def test_without_rendering_nothing_is_drawn(episode, camera):
    episode.settings.no_rendering = True
    assert list(episode.tick(lambda: all_streams(episode))) == []


def test_what_is_attached_goes_where_the_hero_is_put(episode, camera):
    hero = episode.actors.hero
    before = episode.actors.world_transform(camera)
    hero.transform = Transform.read([[3.0, -2.0, 0.5], [0.0, 90.0, 0.0]])
    after = episode.actors.world_transform(camera)
    assert before.location == pytest.approx((0.0, 0.0, 1.5))
    assert after.location == pytest.approx((3.0, -2.0, 2.0))
    assert after.rotation.yaw == pytest.approx(90.0)
    assert episode.actors.world_transform(camera) is after
