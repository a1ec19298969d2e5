import json
import math
from xml.etree import ElementTree

import pytest

from helmsight.envs.registration import LIBERO_ID, PARKING_ID
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.sweep.figure import figure
from helmsight.eval.sweep.outcomes import compare_outcomes
from helmsight.eval.sweep.summary import SweepSummary

SVG = "{http://www.w3.org/2000/svg}"
EPISODES = {"cluttered-test": [0, 1, 2]}
BASELINE, VARIANT = "attention=none", "attention=jacobian"


def evaluation(folder, outcomes, environment=PARKING_ID):
    """A job's folder with one evaluation `cluttered-test` of these outcomes."""
    inner = folder / "cluttered-test"
    inner.mkdir(parents=True)
    records = [
        EpisodeRecord(episode=index, outcome=outcome, decision_ms=[4.0, 6.0])
        for index, outcome in enumerate(outcomes)
    ]
    (inner / "evaluation.json").write_text(json.dumps({"env": environment}))
    (inner / "episodes.jsonl").write_text("".join(f"{r.to_line()}\n" for r in records))
    return folder


@pytest.fixture
def folders(tmp_path):
    """Two seeds a variant; by episode the variant parks 1, 1/2 and 0 more often, none collides."""
    return {
        BASELINE: [
            evaluation(tmp_path / "none" / "0", ["CR", "TSR", "TR"]),
            evaluation(tmp_path / "none" / "1", ["TR", "TR", "TR"]),
        ],
        VARIANT: [
            evaluation(tmp_path / "jacobian" / "0", ["TSR", "TSR", "TR"]),
            evaluation(tmp_path / "jacobian" / "1", ["TSR", "TSR", "TR"]),
        ],
    }


def test_levels_are_pooled_over_the_seeds_and_listed_by_seed(folders):
    result = compare_outcomes(folders, BASELINE, EPISODES).results["cluttered-test"]
    assert result[VARIANT].level["TSR"].value == pytest.approx(100 * 4 / 6)
    assert result[VARIANT].level["TSR"].n == 6
    assert result[BASELINE].seeds["TSR"] == pytest.approx([100 / 3, 0.0])


def test_the_difference_is_paired_by_episode_whose_number_sets_the_interval(folders):
    result = compare_outcomes(folders, BASELINE, EPISODES).results["cluttered-test"]
    difference = result[VARIANT].difference["TSR"]
    assert difference.value == pytest.approx(100 * (1.0 + 0.5 + 0.0) / 3)
    assert difference.n == 3
    assert result[VARIANT].difference["CR"].value == pytest.approx(-100 * 0.5 / 3)
    assert result[BASELINE].difference is None


def test_the_interval_over_seeds_takes_their_spread_from_all_variants(folders):
    result = compare_outcomes(folders, BASELINE, EPISODES).results["cluttered-test"]
    difference = result[VARIANT].difference_of_seeds["TSR"]
    assert difference.value == pytest.approx(result[VARIANT].difference["TSR"].value)
    # The baseline's seeds park in 1/3 and 0, the variant's in 2/3 both: on 2 degrees of freedom.
    deviation = 100 * math.sqrt(2 * (1 / 6) ** 2 / 2)
    assert difference.value - difference.low == pytest.approx(4.302653 * deviation, rel=1e-5)
    assert difference.high == 100.0  # no two rates differ by more
    assert result[BASELINE].difference_of_seeds is None


def test_seeds_that_come_to_equal_rates_in_other_episodes_are_not_taken_for_equal(tmp_path):
    folders = {
        name: [
            evaluation(tmp_path / name / str(seed), outcomes * 40)
            for seed, outcomes in enumerate(seeds)
        ]
        for name, seeds in (
            (BASELINE, (["TSR", "TR", "TR"], ["TR", "TSR", "TR"])),
            (VARIANT, (["TSR", "TSR", "TR"], ["TR", "TSR", "TSR"])),
        )
    }
    outcomes = compare_outcomes(folders, BASELINE, {"cluttered-test": range(120)})
    difference = outcomes.results["cluttered-test"][VARIANT].difference_of_seeds["TSR"]
    # 80 of 120 episodes are undecided in each variant: a variance of 1/2 each, over 120 squared.
    deviation = 100 * math.sqrt(80 / 2) / 120
    assert difference.value - difference.low == pytest.approx(4.302653 * deviation, rel=1e-5)


def test_variants_that_always_fail_do_not_narrow_the_intervals_of_others(folders, tmp_path):
    def half_width(given):
        result = compare_outcomes(given, BASELINE, EPISODES).results["cluttered-test"]
        difference = result[VARIANT].difference_of_seeds["TSR"]
        return difference.value - difference.low

    alone = half_width(folders)
    failing = [evaluation(tmp_path / "never" / str(seed), ["CR"] * 3) for seed in (0, 1)]
    assert half_width(folders | {"attention=never": failing}) == pytest.approx(alone)


def test_one_seed_a_variant_has_no_interval_over_seeds(folders):
    alone = {variant: seeds[:1] for variant, seeds in folders.items()}
    outcomes = compare_outcomes(alone, BASELINE, EPISODES)
    difference = outcomes.results["cluttered-test"][VARIANT].difference_of_seeds["TSR"]
    assert (difference.low, difference.high) == (None, None)
    assert len(list(ElementTree.fromstring(figure(outcomes)).iter(f"{SVG}circle"))) == 1


def test_a_seed_that_did_not_drive_every_episode_is_refused(folders, tmp_path):
    folders[VARIANT].append(evaluation(tmp_path / "jacobian" / "2", ["TSR", "TSR"]))
    with pytest.raises(ValueError, match=r"cluttered-test: episodes 2 were not driven"):
        compare_outcomes(folders, BASELINE, EPISODES)


def test_only_the_wanted_episodes_count(folders):
    outcomes = compare_outcomes(folders, BASELINE, {"cluttered-test": [1]})
    result = outcomes.results["cluttered-test"]
    assert result[BASELINE].seeds["TSR"] == [100.0, 0.0]
    assert result[VARIANT].level["TSR"].n == 2


def test_the_time_of_a_decision_has_its_interval_between_the_evaluations(folders):
    result = compare_outcomes(folders, BASELINE, EPISODES).results["cluttered-test"]
    assert result[BASELINE].decision_ms.n == 2
    assert result[BASELINE].decision_ms.value == pytest.approx(5.0)


def test_table_summary_and_figure_say_the_same(folders, tmp_path):
    outcomes = compare_outcomes(folders, BASELINE, EPISODES)
    SweepSummary(outcomes, None).write(tmp_path)
    written = json.loads((tmp_path / "summary.json").read_text())
    difference = written["results"]["cluttered-test"][VARIANT]["difference"]["TSR"]
    assert f"{difference['value']:+.1f} [" in (tmp_path / "table.md").read_text()
    drawing = ElementTree.fromstring((tmp_path / "figure.svg").read_text())
    circles = list(drawing.iter(f"{SVG}circle"))
    assert len(circles) == 1
    zero = drawing.find(f".//{SVG}text[.='+0']")
    assert float(circles[0].get("cx")) > float(zero.get("x"))  # right: better than the baseline


def test_an_arm_s_variants_are_compared_by_its_own_success(tmp_path):
    folders = {
        name: [evaluation(tmp_path / name, outcomes, LIBERO_ID)]
        for name, outcomes in ((BASELINE, ["SR", "TR"]), (VARIANT, ["SR", "SR"]))
    }
    summary = compare_outcomes(folders, BASELINE, {"cluttered-test": [0, 1]})
    result = summary.results["cluttered-test"][VARIANT]
    assert result.difference["SR"].value == pytest.approx(50.0)
    assert result.decision_ms.value == pytest.approx(5.0)
    assert ">SR over attention=none" in figure(summary)
    assert "other episodes (paired), thin: other seeds" in figure(summary)
    assert (
        summary.table().splitlines()[0].startswith("| evaluation | variant | SR, % | each seed |")
    )
