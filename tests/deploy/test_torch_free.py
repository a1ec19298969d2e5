"""What runs on a robot, without what only a workstation has."""

import subprocess
import sys
from pathlib import Path

import pytest

import helmsight.deploy

WORKSTATION = ("torch", "gymnasium", "mujoco", "stable_baselines3", "safetensors", "onnx")
RECORDING = ("pyarrow", "av", "cv2")
NEEDS_TORCH = {"torch_model", "export"}
MODULES = sorted(
    path.stem
    for path in Path(helmsight.deploy.__path__[0]).glob("*.py")
    if path.stem not in {"__init__", *NEEDS_TORCH}
)


def run_without(missing, program):
    """Output of a program in an interpreter that can import none of `missing`."""
    hidden = f"import sys\nfor name in {missing!r}: sys.modules[name] = None\n"
    command = [sys.executable, "-c", hidden + program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_on_the_robot_imports_without_torch():
    pytest.importorskip("onnxruntime")
    assert "server" in MODULES and "onnx_model" in MODULES
    imports = "\n".join(f"import helmsight.deploy.{name}" for name in MODULES)
    commands = "\nfrom helmsight.cli.main import main\nmain(['serve', '--help'])"
    program = imports + commands + "\nimport helmsight.cli.drive\nprint('alive')"
    assert run_without((*WORKSTATION, *RECORDING), program).endswith("alive\n")


def test_a_command_that_needs_more_says_what_to_install():
    program = "from helmsight.cli.main import main\nsys.stderr = sys.stdout\nprint(main(%r))"
    said = run_without(WORKSTATION, program % ["serve", "checkpoint=parking-s"])
    assert "torch is missing: pip install 'helmsight[train]'" in said and said.endswith("2\n")
    said = run_without(("websockets",), program % ["drive"])
    assert "pip install 'helmsight[deploy]'" in said and said.endswith("2\n")
    said = run_without(RECORDING, program % ["drive", "record=flight"])
    assert "pip install 'helmsight[record]'" in said and said.endswith("2\n")
