import json
import subprocess

import pytest

from helmsight.cli import doctor
from helmsight.cli.doctor import Check


@pytest.fixture
def finding(monkeypatch):
    """Replaces all checks by ones with the given answers."""

    def replace(*checks):
        answers = {check.name: (lambda check=check: check) for check in checks}
        monkeypatch.setattr(doctor, "CHECKS", answers)

    return replace


@pytest.fixture
def renderer_says(monkeypatch):
    """Replaces the process that renders."""

    def replace(returncode=0, stdout="", stderr="", error=None):
        def run(command, **_):
            if error:
                raise error
            return subprocess.CompletedProcess(command, returncode, stdout, stderr)

        monkeypatch.setattr(doctor.subprocess, "run", run)

    return replace


def rendered(contrast):
    report = {"backend": "egl", "renderer": "llvmpipe", "contrast": contrast}
    return "a driver's chatter\n" + json.dumps(report)


def test_all_well_is_exit_code_0(finding, capsys):
    finding(Check("torch", "ok", "2.13.0"))
    assert doctor.run([]) == 0
    assert "torch  ok       2.13.0" in capsys.readouterr().out


@pytest.mark.parametrize("state", ["missing", "broken"])
def test_a_failing_requirement_is_exit_code_1_and_its_remedy_is_shown(finding, capsys, state):
    finding(Check("torch", "ok", "2.13.0"), Check("OpenGL", state, "no EGL", "apt-get install it"))
    assert doctor.run([]) == 1
    text = capsys.readouterr().out
    assert "get it: apt-get install it" in text
    assert "cannot run yet: OpenGL" in text


def test_what_is_optional_does_not_change_the_exit_code(finding, capsys):
    finding(Check("CARLA", "missing", "not installed", "pip install carla", required=False))
    assert doctor.run([]) == 0
    assert "not installed (optional)" in capsys.readouterr().out


def test_a_check_that_raises_is_broken(monkeypatch, capsys):
    def explode():
        raise AttributeError("half an installation")

    monkeypatch.setattr(doctor, "CHECKS", {"MuJoCo": explode})
    assert doctor.run([]) == 1
    assert "AttributeError: half an installation" in capsys.readouterr().out


def test_json_says_the_same(finding, capsys):
    finding(Check("OpenGL", "broken", "no EGL", "apt-get install it"))
    assert doctor.run(["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is False
    assert report["checks"][0]["remedy"] == "apt-get install it"


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="unknown option '--jsn'"):
        doctor.run(["--jsn"])


def test_a_picture_with_contrast_is_ok(renderer_says):
    renderer_says(stdout=rendered(contrast=40.0))
    check = doctor.check_rendering()
    assert (check.state, check.finding) == ("ok", "EGL, llvmpipe")


def test_an_empty_picture_is_broken(renderer_says):
    renderer_says(stdout=rendered(contrast=0.0))
    check = doctor.check_rendering()
    assert check.state == "broken"
    assert "empty" in check.finding


def test_a_crashing_driver_is_broken_and_its_signal_named(renderer_says):
    renderer_says(returncode=-11)
    check = doctor.check_rendering()
    assert check.state == "broken"
    assert "SIGSEGV" in check.finding


def test_a_failing_context_is_broken_and_says_why(renderer_says, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    renderer_says(returncode=1, stderr="Traceback\nImportError: no libEGL.so.1\n")
    check = doctor.check_rendering()
    assert (check.state, check.finding) == ("broken", "ImportError: no libEGL.so.1")
    assert check.remedy.startswith("sudo apt-get install -y libegl1")


def test_a_backend_chosen_by_hand_is_what_is_changed_first(renderer_says, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    renderer_says(returncode=1)
    assert doctor.check_rendering().remedy == "export MUJOCO_GL=egl"


def test_a_hanging_driver_is_broken(renderer_says):
    renderer_says(error=subprocess.TimeoutExpired("python", 1))
    assert "no picture within" in doctor.check_rendering().finding


def test_the_codec_of_this_installation_works():
    assert doctor.check_video().state == "ok"


def test_a_full_disk_is_not_ready(monkeypatch):
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda _: doctor.shutil._ntuple_diskusage(9, 9, 0)
    )
    check = doctor.check_machine()
    assert check.state == "missing"
    assert "GiB of disk" in check.remedy


@pytest.fixture
def libero(monkeypatch, tmp_path):
    """hf-libero as if it were installed, with assets or without."""
    from helmsight.envs.libero import package

    def pretend(assets):
        monkeypatch.setattr(doctor, "version", lambda distribution: "0.1.4")
        monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(package, "package_folder", lambda: tmp_path)
        monkeypatch.setattr(package, "find_assets", lambda: tmp_path if assets else None)

    return pretend


def test_libero_with_its_assets_is_ok(libero):
    libero(assets=True)
    check = doctor.check_libero()
    assert (check.state, check.required) == ("ok", False)
    assert "assets in" in check.finding


def test_libero_without_its_assets_says_where_to_get_them(libero, monkeypatch):
    monkeypatch.setenv("HELMSIGHT_LIBERO_ASSETS", "/nowhere")
    libero(assets=False)
    check = doctor.check_libero()
    assert check.state == "missing"
    assert "/nowhere" in check.finding and "lerobot/libero-assets" in check.remedy


def test_libero_without_robosuite_is_broken(libero, monkeypatch):
    libero(assets=True)
    found = {"robosuite": None}
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: found.get(name, object()))
    check = doctor.check_libero()
    assert check.state == "broken" and "without robosuite" in check.finding


def test_without_libero_the_whole_installation_is_said(monkeypatch):
    def missing(distribution):
        raise doctor.PackageNotFoundError(distribution)

    monkeypatch.setattr(doctor, "version", missing)
    check = doctor.check_libero()
    assert (check.state, check.required) == ("missing", False)
    assert "--no-deps hf-libero==0.1.4 robosuite==1.4.0 bddl==1.0.1" in check.remedy
