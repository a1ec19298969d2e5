import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.eval.records import EpisodeLog, EpisodeRecord, read_records

RECORD = EpisodeRecord(
    episode=3,
    task="park",
    family="standard",
    split="test",
    approach="reverse",
    initial_state=[1.0, 2.0, 0.5],
    success=True,
    outcome="TSR",
    metrics={"position_error": 0.25, "collided_with": None},
    steps=2,
    decision_ms=[4.0, 5.0],
    path=[[1.0, 2.0, 0.5], [1.1, 2.0, 0.5]],
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(), st.lists(st.lists(finite, min_size=3, max_size=3)), st.none() | st.text())
def test_a_record_survives_its_line(task, path, error):
    record = dataclasses.replace(RECORD, task=task, path=path, error=error)
    line = record.to_line()
    assert "\n" not in line
    assert EpisodeRecord.from_line(line) == record


def test_a_line_with_another_field_is_refused_by_name():
    line = json.dumps({**json.loads(RECORD.to_line()), "speed": 1.0})
    with pytest.raises(ValueError, match="unknown \\['speed'\\]"):
        EpisodeRecord.from_line(line)


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_torn_last_line_is_dropped_and_the_next_record_starts_clean(tmp_path, kept):
    with EpisodeLog(tmp_path, {}) as log:
        log.append(RECORD)
        with log.path.open("a") as file:
            file.write(dataclasses.replace(RECORD, episode=4).to_line()[:kept])
        assert list(read_records(log.path)) == [3]
    with EpisodeLog(tmp_path, {}) as again:
        again.append(dataclasses.replace(RECORD, episode=5))
        assert list(again.read()) == [3, 5]


def test_damage_before_the_last_line_names_the_line(tmp_path):
    with EpisodeLog(tmp_path, {}) as log:
        log.append(RECORD)
        log.path.write_text('{"episode": 1\n' + log.path.read_text())
        with pytest.raises(ValueError, match="line 1"):
            log.read()


def test_of_a_repeated_episode_the_last_record_counts(tmp_path):
    with EpisodeLog(tmp_path, {}) as log:
        log.append(EpisodeRecord(episode=3, error="RuntimeError: lost"))
        log.append(RECORD)
        assert log.read() == {3: RECORD}


def test_a_folder_of_another_evaluation_is_refused_with_the_difference(tmp_path):
    with EpisodeLog(tmp_path, {"policy": {"sha256": "aa"}, "seed": 0}) as log:
        log.append(RECORD)
    refused = pytest.raises(ValueError, match=r"policy: .*aa.* there, .*bb.* asked for")
    with refused as caught, EpisodeLog(tmp_path, {"policy": {"sha256": "bb"}, "seed": 0}):
        pass
    assert "seed" not in str(caught.value)


def test_a_folder_that_refused_an_evaluation_is_free_for_its_own(tmp_path):
    with EpisodeLog(tmp_path, {"seed": 0}) as log:
        log.append(RECORD)
    refused = EpisodeLog(tmp_path, {"seed": 1})
    with pytest.raises(ValueError, match="seed"):
        refused.__enter__()
    with EpisodeLog(tmp_path, {"seed": 0}) as log:
        assert list(log.read()) == [3]


def test_a_folder_in_which_nothing_finished_takes_another_evaluation(tmp_path):
    for family in ("clutered", "cluttered"):
        with EpisodeLog(tmp_path, {"family": family}):
            pass
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written == {"family": "cluttered"}


def test_records_of_unknown_origin_are_refused(tmp_path):
    (tmp_path / "episodes.jsonl").write_text(RECORD.to_line() + "\n")
    with pytest.raises(ValueError, match=r"evaluation\.json"), EpisodeLog(tmp_path, {}):
        pass


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path):
    second = EpisodeLog(tmp_path, {"env": "a"})
    refused = pytest.raises(RuntimeError, match="another process is writing into")
    with EpisodeLog(tmp_path, {"env": "a"}), refused:
        second.__enter__()
    with EpisodeLog(tmp_path, {"env": "a"}) as log:
        assert log.read() == {}


def test_a_refused_second_writer_leaves_the_identity_of_the_first(tmp_path):
    refused = pytest.raises(RuntimeError, match="another process")
    with EpisodeLog(tmp_path, {"env": "a"}), refused, EpisodeLog(tmp_path, {"env": "b"}):
        pass
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {"env": "a"}


def test_a_refused_second_writer_leaves_the_line_that_the_first_is_writing(tmp_path):
    line = RECORD.to_line() + "\n"
    with EpisodeLog(tmp_path, {}) as log, log.path.open("a") as file:
        file.write(line[:40])
        file.flush()
        with pytest.raises(RuntimeError, match="another process"), EpisodeLog(tmp_path, {}):
            pass
        file.write(line[40:])
        file.flush()
        assert log.read() == {3: RECORD}
