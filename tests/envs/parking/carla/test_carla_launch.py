"""Starting a server; the protocol server stands in for CARLA's own script."""

import socket
import sys
import time

import pytest

from helmsight.envs.parking.carla.launch import LaunchedServer, server_command

FAKE = f"""#!/bin/sh
# As CARLA's script, it starts the server as a child.
for word in "$@"; do case $word in -carla-rpc-port=*) port=${{word#*=}};; esac; done
{sys.executable} -c "
from helmsight.envs.parking.carla_server.server import serve
serve($port, lambda port: None)"
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def script(folder, text):
    file = folder / "CarlaUE4.sh"
    file.write_text(text)
    file.chmod(0o755)
    return str(folder)


def test_an_installed_server_is_preferred_to_docker(tmp_path):
    root = script(tmp_path, FAKE)
    command = server_command(root, 2100)
    assert command[0] == f"{root}/CarlaUE4.sh" and "-carla-rpc-port=2100" in command


def test_a_root_without_the_script_and_no_docker_are_refused_with_what_to_install(
    tmp_path, monkeypatch
):
    with pytest.raises(FileNotFoundError, match=r"holds no CarlaUE4\.sh"):
        server_command(str(tmp_path), 2000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="set CARLA_ROOT"):
        server_command(None, 2000)


def test_docker_gets_the_port_and_the_tested_version(tmp_path, monkeypatch):
    (tmp_path / "docker").write_text("")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = server_command(None, 2100)
    assert command[:2] == ["docker", "run"]
    assert "carlasim/carla:0.9.16" in command and "-carla-rpc-port=2100" in command


def ends_within(seconds, port):
    """Whether nobody answers on a port any more before the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_server_is_waited_for_and_ended_with_its_children(tmp_path):
    pytest.importorskip("carla", reason="needs the client library: pip install carla==0.9.16")
    port = free_port()
    server = LaunchedServer(server_command(script(tmp_path, FAKE), port), port, 60.0)
    socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
    server.close()
    assert ends_within(20.0, port)  # the children have their signal; a busy machine takes its time


def test_a_server_that_ends_before_it_answers_is_an_error(tmp_path):
    pytest.importorskip("carla", reason="needs the client library: pip install carla==0.9.16")
    root = script(tmp_path, "#!/bin/sh\nexit 3\n")
    with pytest.raises(RuntimeError, match="ended with code 3"):
        LaunchedServer(server_command(root, free_port()), 1, 20.0)
