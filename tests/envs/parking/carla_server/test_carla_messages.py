"""What the server sends has exactly the size that the client reads."""

import math
import struct

import msgpack
import numpy as np
import pytest

from helmsight.envs.parking.carla_server import streams
from helmsight.envs.parking.carla_server.looks import CLEAR_NOON, looks_json, read_looks
from helmsight.envs.parking.carla_server.opendrive import opendrive
from helmsight.envs.parking.carla_server.sensors import CAR, ROAD, SKY, semantic_tags
from helmsight.envs.parking.carla_server.streams import ActorState, Moment
from helmsight.envs.parking.carla_server.wire import (
    ORIGIN,
    Answer,
    CallRefused,
    Transform,
    answered,
    read_request,
    refused,
    stream_of,
    token,
)
from helmsight.envs.parking.lot import Lot
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import CAMERA_RIGS

HEAD = streams.header(streams.RGB, Moment(7, 0.7), ORIGIN)


def test_a_token_has_24_bytes_and_never_port_zero():
    assert len(token(5, 2001)) == 24 and stream_of(token(5, 2001)) == 5
    with pytest.raises(ValueError, match="port"):
        token(5, 0)


def test_a_header_has_48_bytes_and_only_types_that_the_client_knows():
    assert len(HEAD) == 48 and struct.unpack_from("<QQd", HEAD) == (streams.RGB, 7, 0.7)
    with pytest.raises(ValueError, match="unknown sensor type 99"):
        streams.header(99, Moment(7, 0.7), ORIGIN)


def test_a_world_state_is_whole_records_of_119_bytes():
    record = streams.actor_state(ActorState(3, ORIGIN, control=(1.0, -0.5, 0.0)))
    assert len(record) == 119
    assert struct.unpack_from("<fff", record, 65) == (1.0, -0.5, 0.0)
    state = streams.world_state(HEAD, 1, 0.7, 0.1, False, 2 * record)
    assert len(state) == 48 + 36 + 2 * 119
    with pytest.raises(ValueError, match="multiples of 119"):
        streams.world_state(HEAD, 1, 0.7, 0.1, False, record[:-1])


def test_an_image_is_four_bytes_a_pixel():
    payload = streams.image(HEAD, np.zeros((4, 6, 4), np.uint8), 90.0)
    assert len(payload) == 48 + 12 + 4 * 6 * 4
    assert struct.unpack_from("<II", payload, 48) == (6, 4)
    with pytest.raises(ValueError, match=r"\[H, W, 4\]"):
        streams.image(HEAD, np.zeros((4, 6, 3), np.uint8), 90.0)


def test_what_is_shorter_than_a_header_is_not_sent():
    assert streams.framed(HEAD)[:4] == struct.pack("<I", 48)
    with pytest.raises(ValueError, match="48"):
        streams.framed(HEAD[:-1])


def test_other_sensors_send_msgpack_behind_their_header():
    payload = streams.inertial(HEAD, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 0.5)
    assert msgpack.unpackb(payload[48:]) == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 0.5]


def test_depth_beyond_a_kilometre_is_the_sky():
    pixels = streams.bgra_of_depth(np.array([[np.inf, 1000.0, 0.0]], np.float32))
    assert pixels[0, :, :3].tolist() == [[255, 255, 255], [255, 255, 255], [0, 0, 0]]


def test_answers_and_errors_are_wrapped_as_the_client_unwraps_them():
    assert answered(Answer.VALUE, 5) == [[1, 5]]
    assert answered(Answer.NOTHING, None) == [[False]]
    assert refused(Answer.VALUE, "no") == [[0, ["no"]]]
    assert refused(Answer.NOTHING, "no") == [[True, ["no"]]]


@pytest.mark.parametrize(
    "message", [5, [0, 1, "version"], [0, 1, "version", []], [2, 1, "x", [[]]]]
)
def test_what_is_no_request_is_not_taken_for_one(message):
    with pytest.raises(ValueError, match="not a request"):
        read_request(message)


def test_a_request_loses_its_metadata():
    assert read_request([0, 4, "get_map", [[True], 1, "a"]]) == (4, "get_map", [1, "a"])


@pytest.mark.parametrize(
    "value", [None, [[1, 2, 3]], [[1, 2], [0, 0, 0]], [["a", 2, 3], [0, 0, 0]]]
)
def test_a_malformed_transform_is_refused(value):
    with pytest.raises(CallRefused, match="expected a transform"):
        Transform.read(value)


def test_looks_travel_exactly():
    scenario = make_scenario("cluttered", "shifted", 5)
    looks = read_looks(looks_json(scenario))
    assert (looks.appearance, looks.seed) == (scenario.appearance, scenario.seed)
    assert looks.cars == tuple(car.colour for car in scenario.cars)
    assert looks.boxes == tuple(box.colour for box in scenario.boxes)
    with pytest.raises(CallRefused, match="no appearance"):
        read_looks("{}")
    assert len(CLEAR_NOON) == 14


def test_the_map_of_the_lot_has_its_aisle():
    text = opendrive("lot", Lot(aisle_width=7.0))
    assert 'a="3.5"' in text and text.startswith("<?xml")


def test_semantic_tags_tell_sky_road_and_cars():
    scenario = make_scenario("standard", "test", 0)
    camera = CAMERA_RIGS["surround4"][0]
    car = scenario.cars[0].pose
    # Stand 6 m behind the car, looking at it along its length.
    vehicle = car._replace(
        x=car.x - 6.0 * math.cos(car.yaw) - camera.position[0] * math.cos(car.yaw),
        y=car.y - 6.0 * math.sin(car.yaw) - camera.position[0] * math.sin(car.yaw),
    )
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    middle = camera.width // 2
    depth[camera.height // 2 + 2, middle] = 5.0  # within the body, above the ground
    down = camera.height - 1
    fall = (down + 0.5 - camera.height / 2.0) / camera.focal_length
    depth[down, middle] = camera.position[2] / fall  # on the ground
    tags = semantic_tags(depth, camera, vehicle, scenario)
    assert tags[0, 0] == SKY
    assert tags[camera.height // 2 + 2, middle] == CAR
    assert tags[down, middle] == ROAD


def test_a_resting_actor_s_record_is_that_of_one_without_motion():
    place = Transform.read([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert streams.resting_state(3, place) == streams.actor_state(ActorState(3, place))
