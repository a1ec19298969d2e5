import json

import pytest

from helmsight.eval.explain.measures import EpisodeMeasures
from helmsight.eval.sweep.maps import compare_maps


def explained(folder, *episodes):
    """An explanation with the given rank correlations of the attention, a list an episode."""
    folder.mkdir(parents=True)
    entries = [
        EpisodeMeasures(index, len(values), {"rank_correlation": {"attention": values}})
        for index, values in enumerate(episodes)
    ]
    lines = [json.dumps(entry.to_dict()) + "\n" for entry in entries]
    (folder / "measures.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def folders(tmp_path):
    """Two trainings of two variants: faithfulness 0.6 and 0.8, and 0.5 and 0.5."""
    return {
        "attention=removal": [
            explained(tmp_path / "removal" / "0", [0.5, 0.5], [0.8]),
            explained(tmp_path / "removal" / "1", [0.7, 0.7], [1.0]),
        ],
        "attention=jacobian": [
            explained(tmp_path / "jacobian" / "0", [0.5], [0.5]),
            explained(tmp_path / "jacobian" / "1", [0.5], [0.5]),
        ],
    }


def test_moments_count_alike_and_trainings_set_the_interval(folders):
    means = compare_maps(folders, [0, 1]).means["rank_correlation"]["attention"]
    faithfulness = means["attention=removal"]
    assert faithfulness.value == pytest.approx(0.7)
    # Squares 0.02 of one variant, none of the other, on 2 degrees of freedom.
    half = 4.302653 * (0.02 / 2) ** 0.5 / 2**0.5
    assert faithfulness.high - faithfulness.value == pytest.approx(half, rel=1e-5)
    assert means["attention=jacobian"].high == pytest.approx(0.5 + half, rel=1e-5)


def test_only_the_wanted_episodes_count(folders):
    maps = compare_maps(folders, [0])
    seeds = maps.seeds["rank_correlation"]["attention"]["attention=removal"]
    assert seeds == pytest.approx([0.5, 0.7])


def test_a_policy_without_maps_has_a_dash_in_every_column(folders, tmp_path):
    table = compare_maps(folders | {"policy=state": [tmp_path / "state"]}, [0, 1]).table()
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()]
    column = rows[0].index("faithfulness")
    assert rows[2][column].startswith("0.70 [")
    assert rows[-1][0] == "`policy=state`"
    assert set(rows[-1][1:]) == {"-"}


def test_an_episode_that_was_not_measured_is_named(folders):
    with pytest.raises(ValueError, match=r"removal/0: the maps of episodes 2 were not measured"):
        compare_maps(folders, [0, 1, 2])
