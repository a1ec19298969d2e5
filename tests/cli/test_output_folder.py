import pytest

from helmsight.cli.output_folder import (
    DATA_SET,
    EVALUATION,
    MARKERS,
    TRAINING_RUN,
    output_folder,
)


def holding(folder, what):
    file = folder / MARKERS[what]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@pytest.mark.parametrize("what", MARKERS)
def test_a_folder_with_more_of_the_same_is_taken(tmp_path, what):
    holding(tmp_path, what)
    assert output_folder(tmp_path, what) == tmp_path


@pytest.mark.parametrize(
    ("there", "wanted"), [(TRAINING_RUN, EVALUATION), (DATA_SET, TRAINING_RUN)]
)
def test_a_folder_with_another_command_s_work_is_refused(tmp_path, there, wanted):
    holding(tmp_path, there)
    with pytest.raises(ValueError, match=f"holds {there} already; give another folder"):
        output_folder(tmp_path, wanted)


def test_a_folder_within_another_command_s_is_taken(tmp_path):
    holding(tmp_path, TRAINING_RUN)
    assert output_folder(tmp_path / "evaluation", EVALUATION) == tmp_path / "evaluation"
