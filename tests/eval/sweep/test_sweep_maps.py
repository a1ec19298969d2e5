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


def test_moments_of_all_seeds_count_alike_and_episodes_set_the_interval(tmp_path):
    seeds = [
        explained(tmp_path / "0", [0.5, 0.7], [0.9]),
        explained(tmp_path / "1", [0.6], [0.7, 0.8]),
    ]
    mean = compare_maps({"attention=jacobian": seeds}).means["attention=jacobian"]
    faithfulness = mean["rank_correlation"]["attention"]
    assert faithfulness.value == pytest.approx(0.7)
    assert faithfulness.n == 6
    # Two episodes, whose sums are 0.3 below and above three times the mean: one degree of freedom.
    error = (2 * (0.3**2 + 0.3**2)) ** 0.5 / 6
    assert faithfulness.high - faithfulness.value == pytest.approx(12.7062 * error, rel=1e-4)


def test_a_variant_without_a_map_has_a_dash_in_its_column(tmp_path):
    with_map = explained(tmp_path / "with", [0.5], [0.7])
    without = tmp_path / "without"
    without.mkdir()
    lines = [json.dumps(EpisodeMeasures(index, 1).to_dict()) for index in (0, 1)]
    (without / "measures.jsonl").write_text("\n".join(lines) + "\n")
    table = compare_maps({"attention=none": [without], "attention=removal": [with_map]}).table()
    rows = [row.split(" | ") for row in table.splitlines()]
    column = rows[0].index("faithfulness")
    assert rows[2][column] == "-"
    assert rows[3][column].startswith("0.60 [")


def test_other_episodes_are_refused(tmp_path):
    folders = {
        "attention=none": [explained(tmp_path / "none", [0.5], [0.7])],
        "attention=removal": [explained(tmp_path / "removal", [0.5])],
    }
    with pytest.raises(ValueError, match="attention=removal: the maps of 1 episodes"):
        compare_maps(folders)
