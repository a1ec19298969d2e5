"""The unmodified client's calls, one by one, and what the server does with nonsense."""

import queue
import socket

import msgpack
import numpy as np
import pytest

from helmsight.envs.parking.carla_server.looks import looks_json
from helmsight.envs.parking.carla_server.process import ServerProcess
from helmsight.envs.parking.mujoco.model import TRACK
from helmsight.envs.parking.scenario import make_scenario
from helmsight.envs.parking.vehicle import EGO

carla = pytest.importorskip(
    "carla", reason="needs the client library: pip install carla==0.9.16 (Linux x86-64, Windows)"
)
SECONDS = 30.0


@pytest.fixture(scope="module")
def server():
    with ServerProcess() as served:
        yield served


@pytest.fixture(scope="module")
def client(server):
    """One for all tests: the library can abort when a world is loaded while a client is freed."""
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(SECONDS)
    return client


@pytest.fixture
def world(client):
    """A synchronous world with nobody in it but the spectator."""
    world = client.load_world("Helmsight_standard")
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.1
    world.apply_settings(settings)
    yield world
    settings.synchronous_mode, settings.fixed_delta_seconds = False, None
    client.get_world().apply_settings(settings)  # a test may have loaded another one


def spawn(world, name, x=0.0, y=0.0, yaw=0.0, **attributes):
    blueprint = world.get_blueprint_library().find(name)
    for key, value in attributes.items():
        blueprint.set_attribute(key, value)
    place = carla.Transform(carla.Location(x, y, 0.0), carla.Rotation(yaw=yaw))
    return world.spawn_actor(blueprint, place)


def hero(world, **place):
    return spawn(world, "vehicle.lincoln.mkz_2017", role_name="hero", **place)


def sensor(world, parent, name, **attributes):
    """A listening sensor and the queue of its data."""
    blueprint = world.get_blueprint_library().find(name)
    for key, value in attributes.items():
        blueprint.set_attribute(key, value)
    mount = carla.Transform(carla.Location(1.5, 0.0, 1.5))
    actor = world.spawn_actor(blueprint, mount, attach_to=parent)
    data = queue.Queue()
    actor.listen(data.put)
    return actor, data


def test_versions_and_maps(client, world):
    assert client.get_server_version() == client.get_client_version() == "0.9.16"
    assert "Carla/Maps/Helmsight_cluttered" in client.get_available_maps()
    assert world.get_map().name == "Carla/Maps/Helmsight_standard"


def test_the_map_knows_the_aisle(world):
    waypoint = world.get_map().get_waypoint(carla.Location(3.0, 1.0, 0.0))
    assert waypoint.road_id == 1 and waypoint.lane_width == pytest.approx(2.7)


def test_a_tick_gives_the_frame_of_the_new_snapshot_and_a_tenth_of_a_second(world):
    world.tick(SECONDS)
    first = world.get_snapshot()
    frame = world.tick(SECONDS)
    assert world.get_snapshot().frame == frame == first.frame + 1
    passed = world.get_snapshot().timestamp.elapsed_seconds - first.timestamp.elapsed_seconds
    assert passed == pytest.approx(0.1)


def test_a_period_other_than_the_lots_is_refused(world):
    settings = world.get_settings()
    settings.fixed_delta_seconds = 0.05
    with pytest.raises(RuntimeError, match=r"drives 0\.1 s a tick"):
        world.apply_settings(settings)


def test_controls_drive_the_hero_and_come_back(world):
    car = hero(world)
    world.tick(SECONDS)
    assert car.get_transform().location.x == pytest.approx(0.0, abs=1e-4)
    car.apply_control(carla.VehicleControl(throttle=0.75, steer=0.5, gear=1))
    for _ in range(10):
        world.tick(SECONDS)
    control = car.get_control()
    assert (control.throttle, control.steer, control.reverse) == (0.75, 0.5, False)
    place, speed = car.get_transform(), car.get_velocity()
    assert place.location.x > 0.5 and speed.x > 1.0
    # Steering to the right turns towards +y, clockwise.
    assert place.location.y > 0.01 and place.rotation.yaw > 1.0
    assert car.get_angular_velocity().z > 1.0
    assert car.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel) > 5.0


def test_a_vehicle_says_its_size_and_its_steering_lock(world):
    car = hero(world)
    box = car.bounding_box
    assert (2.0 * box.extent.x, 2.0 * box.extent.y) == pytest.approx((4.7, 1.95))
    wheels = car.get_physics_control().wheels
    assert wheels[0].max_steer_angle == pytest.approx(np.degrees(0.61))


def test_a_vehicle_says_where_its_wheels_are(world):
    front_left, front_right, rear_left, _ = (
        wheel.position for wheel in hero(world).get_physics_control().wheels
    )
    assert front_left.distance(front_right) == pytest.approx(100.0 * TRACK, rel=1e-4)
    assert front_left.distance(rear_left) == pytest.approx(100.0 * EGO.wheelbase, rel=1e-4)
    # The hero heads along x, so that its left is towards -y.
    assert front_left.x > rear_left.x and front_left.y < front_right.y


def test_cars_and_boxes_can_be_moved_and_destroyed(world):
    car = spawn(world, "vehicle.audi.a2", y=5.45, color="200,20,20")
    box = spawn(world, "static.prop.box01", x=6.0)
    car.set_simulate_physics(False)
    car.set_transform(carla.Transform(carla.Location(9.3, -5.45, 0.0), carla.Rotation(yaw=90.0)))
    car.set_target_velocity(carla.Vector3D())
    world.tick(SECONDS)
    assert car.get_transform().location.x == pytest.approx(9.3)
    assert {actor.id for actor in world.get_actors()} >= {car.id, box.id}
    assert car.destroy() and box.destroy()
    world.tick(SECONDS)
    assert not {actor.id for actor in world.get_actors()} & {car.id, box.id}


def test_a_place_that_is_taken_a_second_hero_and_a_loose_sensor_are_refused(world):
    hero(world)
    with pytest.raises(RuntimeError, match="collision at spawn position"):
        spawn(world, "vehicle.audi.a2", x=1.0)
    with pytest.raises(RuntimeError, match="hero vehicle already"):
        hero(world, x=15.0)
    with pytest.raises(RuntimeError, match="attached to the hero"):
        spawn(world, "sensor.other.imu")


def test_batches_are_carried_out_in_order_and_each_command_is_answered(client, world):
    blueprint = world.get_blueprint_library().find("vehicle.audi.a2")
    command = carla.command
    places = [carla.Transform(carla.Location(x, 5.45, 0.0)) for x in (0.0, 10.0, 0.0)]
    first, second, taken = client.apply_batch_sync(
        [
            command.SpawnActor(blueprint, place).then(
                command.SetSimulatePhysics(command.FutureActor, False)
            )
            for place in places
        ],
        True,
    )
    assert not first.has_error() and not second.has_error()
    assert "collision at spawn position" in taken.error
    answers = client.apply_batch_sync(
        [
            command.ApplyTransform(first.actor_id, places[0]),
            command.DestroyActor(first.actor_id),
            command.DestroyActor(first.actor_id),
        ],
        True,
    )
    assert [answer.has_error() for answer in answers] == [False, False, True]
    assert [actor.id for actor in world.get_actors([first.actor_id, second.actor_id])] == [
        second.actor_id
    ]


def test_inertial_and_satellite_sensors_send_each_tick(world):
    car = hero(world)
    # A sensor that nobody holds is silent.
    unit, inertia = sensor(world, car, "sensor.other.imu")
    receiver, place = sensor(world, car, "sensor.other.gnss")
    car.apply_control(carla.VehicleControl(throttle=1.0))
    for _ in range(3):
        frame = world.tick(SECONDS)
        measured, position = inertia.get(timeout=SECONDS), place.get(timeout=SECONDS)
        assert measured.frame == position.frame == frame
    assert measured.accelerometer.x > 1.0
    assert measured.accelerometer.z == pytest.approx(9.81, abs=1e-4)
    assert measured.compass == pytest.approx(np.pi / 2.0, abs=0.01)
    assert position.longitude == pytest.approx(0.0, abs=1e-3)
    for listening in (unit, receiver):
        listening.stop()


def test_a_collision_names_what_was_hit(world):
    car = hero(world)
    box = spawn(world, "static.prop.box01", x=5.0)
    feeler, hits = sensor(world, car, "sensor.other.collision")
    car.apply_control(carla.VehicleControl(throttle=1.0))
    for _ in range(40):
        world.tick(SECONDS)
    event = hits.get(timeout=SECONDS)
    assert (event.actor.id, event.other_actor.id) == (car.id, box.id)
    feeler.stop()


@pytest.mark.rendering
def test_cameras_see_the_same_scene_as_colour_depth_and_tags(world):
    scenario = make_scenario("standard", "test", 3)
    spawn(world, "static.prop.helmsight_looks", looks=looks_json(scenario))
    spawn(world, "vehicle.audi.a2", x=8.0, yaw=90.0, color="210,20,20")
    car = hero(world)
    size = {"image_size_x": "96", "image_size_y": "64", "fov": "100"}
    kinds = ("rgb", "depth", "semantic_segmentation")
    cameras = [sensor(world, car, f"sensor.camera.{kind}", **size) for kind in kinds]
    frame = world.tick(SECONDS)
    images = [data.get(timeout=SECONDS) for _, data in cameras]
    assert {image.frame for image in images} == {frame}
    colour, depth, tags = (
        np.frombuffer(image.raw_data, np.uint8).reshape(64, 96, 4).astype(int) for image in images
    )
    metres = (depth[..., 2] + 256 * depth[..., 1] + 65536 * depth[..., 0]) / (2**24 - 1) * 1000.0
    ahead = tags[..., 2] == 14
    assert ahead.sum() > 50 and 3.0 < np.median(metres[ahead]) < 7.0
    assert colour[ahead][:, 2].mean() > 1.5 * colour[ahead][:, 0].mean()  # a red car
    assert (tags[..., 2] == 11).any() and (metres[tags[..., 2] == 11] > 999.0).all()
    for camera, _ in cameras:
        assert camera.is_listening()
        camera.stop()


def test_a_camera_that_cannot_be_is_refused(world):
    car = hero(world)
    with pytest.raises(RuntimeError, match="fov"):
        sensor(world, car, "sensor.camera.rgb", fov="500")
    with pytest.raises(RuntimeError, match="16 to 1024 pixels"):
        sensor(world, car, "sensor.camera.depth", image_size_x="8000")


def test_the_weather_comes_back_as_it_was_set(world):
    world.set_weather(carla.WeatherParameters(sun_altitude_angle=33.0, wetness=12.0))
    world.tick(SECONDS)
    weather = world.get_weather()
    assert (weather.sun_altitude_angle, weather.wetness) == (33.0, 12.0)


def test_a_reloaded_world_is_empty_and_goes_on_in_its_mode(client, world):
    car = hero(world)
    world.tick(SECONDS)
    again = client.reload_world(False)
    assert again.get_settings().synchronous_mode
    frames = [again.tick(SECONDS) for _ in range(3)]
    assert frames == list(range(frames[0], frames[0] + 3))
    assert car.id not in [actor.id for actor in again.get_actors()]


def test_an_unknown_map_is_refused_with_those_there_are(client):
    with pytest.raises(RuntimeError, match="this server has Helmsight_standard"):
        client.load_world("Town04_Opt")


def test_in_asynchronous_mode_the_world_moves_by_itself(client):
    world = client.get_world()
    first = world.wait_for_tick(SECONDS).frame
    assert world.wait_for_tick(SECONDS).frame > first


def raw_call(port, request, seconds=5.0):
    """What the server answers to one msgpack value; b"" where it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(msgpack.packb(request))
        return connection.recv(65536)


def test_a_call_that_is_unknown_or_misshapen_gets_an_error_and_the_server_lives(server):
    answer = msgpack.unpackb(raw_call(server.port, [0, 1, "fly", [[False]]]))
    assert answer[:2] == [1, 1] and "no function 'fly'" in answer[2]
    answer = msgpack.unpackb(raw_call(server.port, [0, 2, "destroy_actor", [[False]]]))
    assert answer[3] == [[0, ["destroy_actor takes 1 values, got 0"]]]
    answer = msgpack.unpackb(raw_call(server.port, [0, 3, "spawn_actor", [[False], 5, None]]))
    assert "expected a transform" in answer[3][0][1][0]
    answer = msgpack.unpackb(raw_call(server.port, [0, 4, "version", [[False]]]))
    assert answer[3] == [[1, "0.9.16"]]


def test_who_does_not_speak_the_protocol_is_hung_up_on(server):
    assert raw_call(server.port, {"GET": "/"}) == b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5.0) as connection:
        connection.sendall(b"\xc1\xc1\xc1")
        assert connection.recv(100) == b""


def test_the_server_listens_on_one_loopback_address_alone(server):
    # Who listens on every address answers on this one too.
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", server.port), timeout=1.0).close()
