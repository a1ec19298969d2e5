import json

import pytest
from evaluation_fakes import FAKE_ENV, FakeSource

from helmsight.eval.compare import compare
from helmsight.eval.evaluation import EvaluationSettings, evaluate
from helmsight.eval.records import read_records


def evaluated(folder, episodes=12, **options):
    settings = EvaluationSettings(
        FakeSource(), folder, FAKE_ENV, options, episodes, success_videos=0, failure_videos=0
    )
    evaluate(settings)
    return folder


def with_successes(folder, episodes):
    """Rewrite an evaluation so that exactly these episodes succeeded."""
    path = folder / "episodes.jsonl"
    rows = [json.loads(record.to_line()) for record in read_records(path).values()]
    for row in rows:
        row["success"] = row["episode"] in episodes
        row["outcome"] = "TSR" if row["success"] else "TR"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_pairs_are_counted_by_who_parked_them(tmp_path):
    first = with_successes(evaluated(tmp_path / "a"), {0, 1, 2, 3, 4})
    second = with_successes(evaluated(tmp_path / "b"), {0, 1, 7})
    result = compare(first, second, tmp_path / "out")
    assert (result.both, result.only_first, result.only_second, result.neither) == (2, 3, 1, 6)
    assert result.p_value == pytest.approx(2 * (1 + 4) / 2**4)
    assert result.differences["TSR"].value == pytest.approx(100 * 2 / 12)
    assert [a.episode for a, _ in result.discordant] == [2, 3, 4, 7]


def test_the_comparison_is_written_as_json_and_as_a_page(tmp_path):
    first = with_successes(evaluated(tmp_path / "a", 3), {0, 1})
    second = with_successes(evaluated(tmp_path / "b", 3), {1})
    compare(first, second, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["discordant"] == [{"episode": 0, "first": "TSR", "second": "TR"}]
    assert summary["metrics"]["TSR"]["n"] == 3
    assert "{{" not in (tmp_path / "out" / "compare.html").read_text()


def test_other_episodes_are_refused_by_number(tmp_path):
    first, second = evaluated(tmp_path / "a", 3), evaluated(tmp_path / "b", 4)
    with pytest.raises(ValueError, match="only in the first: none; only in the second: 3"):
        compare(first, second, tmp_path / "out")


@pytest.mark.parametrize("option", [{"split": "val"}, {"family": "cluttered"}])
def test_another_world_is_refused_by_name(tmp_path, option):
    first, second = evaluated(tmp_path / "a", 2), evaluated(tmp_path / "b", 2, **option)
    with pytest.raises(ValueError, match=f"{next(iter(option))}: '.*' in .*a, '.*' in .*b"):
        compare(first, second, tmp_path / "out")


def with_option(folder, name, value):
    """An evaluation that says it was made with another option of its environment."""
    path = folder / "evaluation.json"
    identity = json.loads(path.read_text())
    identity["env_kwargs"][name] = value
    path.write_text(json.dumps(identity))
    return folder


@pytest.mark.parametrize(("name", "a", "b"), [("lot", "Town05", "Town10"), ("arm_noise", 0.0, 0.1)])
def test_another_lot_or_start_of_the_arm_is_another_world(tmp_path, name, a, b):
    first = with_option(evaluated(tmp_path / "a", 2), name, a)
    second = with_option(evaluated(tmp_path / "b", 2), name, b)
    with pytest.raises(ValueError, match=f"{name}: {a!r} in .*a, {b!r} in .*b"):
        compare(first, second)


def test_an_evaluation_of_before_the_arm_s_noise_had_none(tmp_path):
    first = with_option(evaluated(tmp_path / "a", 2), "arm_noise", 0.0)
    assert compare(first, evaluated(tmp_path / "b", 2)).neither == 0


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no evaluation"):
        compare(tmp_path, tmp_path, tmp_path / "out")
