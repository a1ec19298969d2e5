import pytest

from helmsight.policies import pretrained
from helmsight.policies.pretrained import POLICY_FILES, policy_folder, pretrained_names


@pytest.fixture
def coming_along(tmp_path, monkeypatch):
    """A folder of policies that come along, with one of the name `small-car`."""
    monkeypatch.setattr(pretrained, "PRETRAINED", tmp_path / "pretrained")
    return saved(tmp_path / "pretrained" / "small-car")


def saved(folder):
    folder.mkdir(parents=True)
    for name in POLICY_FILES:
        (folder / name).write_text("{}")
    return folder


def test_a_name_stands_for_the_policy_that_comes_along(coming_along):
    assert pretrained_names() == ["small-car"]
    assert policy_folder("small-car") == coming_along


def test_a_folder_comes_before_a_name(coming_along, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "small-car")
    assert policy_folder("small-car").resolve() == tmp_path / "small-car"


def test_a_run_folder_stands_for_the_policy_in_it(tmp_path):
    assert policy_folder(saved(tmp_path / "run" / "policy").parent) == tmp_path / "run" / "policy"


@pytest.mark.parametrize("name", POLICY_FILES)
def test_what_is_missing_is_named(coming_along, tmp_path, name):
    (saved(tmp_path / "policy") / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"no saved policy: {name} missing.*small-car"):
        policy_folder(tmp_path / "policy")
