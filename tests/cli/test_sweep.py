from pathlib import Path

import pytest

from helmsight.cli import sweep
from helmsight.cli.configuration import configuration
from helmsight.cli.sweep import run, share
from helmsight.cli.sweep_jobs import Job, evaluations, expand, explanation, jobs
from helmsight.policies.explainable import NothingToExplainError
from helmsight.training.file_lock import lock_file

EXPERIMENTS = ("parking_attention", "libero_parts")


def values(*words):
    return configuration("sweep", ["data=D", "out=O", *words])


def test_commas_multiply_as_in_a_multirun():
    assert expand("attention=a,b policy.attention.detached=true,false") == [
        "attention=a policy.attention.detached=true",
        "attention=a policy.attention.detached=false",
        "attention=b policy.attention.detached=true",
        "attention=b policy.attention.detached=false",
    ]


def test_a_variant_outside_the_grammar_is_refused():
    with pytest.raises(ValueError, match=r"variant 'attention=\[a'"):
        expand("attention=[a")


def test_the_attention_experiment_trains_eleven_variants_with_three_seeds():
    made = list(jobs(values(), Path("O")))
    assert len(made) == 33
    assert len({job.folder for job in made}) == 33
    assert made[0].variant == "attention=none"


def test_a_job_trains_on_the_common_data_with_its_own_words_and_seed():
    made = list(jobs(values("seeds=[4]", "train.max_steps=7"), Path("O")))
    words = made[1].words
    assert {"data=D", "max_steps=7", "seed=4", "attention=mean_logit"} <= set(words)
    assert configuration("train", words)["out"] == str(made[1].folder / "run")


def test_a_job_trains_the_policy_that_was_asked_for_with_its_options():
    given = values("train.policy=privileged", "train.policy.width=128")
    policy = configuration("train", next(jobs(given, Path("O"))).words)["policy"]
    assert (policy["sees"], policy["width"]) == ("label", 128)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_job_s_words_are_a_training_that_exists(experiment):
    for job in jobs(values(f"experiment={experiment}"), Path("O")):
        assert configuration("train", job.words)["seed"] == job.seed


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_evaluation_s_words_are_an_evaluation_that_exists(experiment):
    for _, words in evaluations(values(f"experiment={experiment}")):
        assert configuration("eval", ["checkpoint=C", "out=O", *words])["workers"] == 2


def test_lists_among_the_words_of_an_evaluation_multiply():
    made = dict(evaluations(values("evaluate.split=[test,shifted]", "evaluate.episodes=7")))
    assert set(made) == {"standard-test", "standard-shifted", "cluttered-test", "cluttered-shifted"}
    assert {"family=cluttered", "split=shifted", "episodes=7"} <= set(made["cluttered-shifted"])


def test_a_list_in_a_list_is_one_value_of_an_evaluation():
    made = dict(evaluations(values("experiment=libero_parts", "evaluate.tasks=[[0,3]]")))
    assert set(made) == {"original-0_3", "swapped-0_3"}
    for words in made.values():
        assert configuration("eval", ["checkpoint=C", "out=O", *words])["tasks"] == [0, 3]


def test_one_value_can_stand_for_a_list_among_the_words_of_an_evaluation():
    made = dict(evaluations(values("evaluate.family=cluttered")))
    assert set(made) == {"test", "shifted"}


def test_several_data_sets_go_to_every_training():
    first = next(jobs(values("data=[D,E]"), Path("O")))
    assert configuration("train", first.words)["data"] == ["D", "E"]


def test_variants_whose_keys_end_alike_lie_in_folders_of_their_own():
    lines = "variants=['policy.loss.depth=1', 'policy.other.depth=1', 'policy.width=8']"
    folders = [job.folder.parent.name for job in jobs(values(lines, "seeds=[0]"), Path("O"))]
    assert len(set(folders)) == 4
    assert folders[3] == "width-8"


def test_a_variant_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="attention=none comes more than once"):
        list(jobs(values("variants=['attention=none']"), Path("O")))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("evaluate.epsiodes=4", "evaluation 'standard-test': unknown key 'epsiodes'"),
        ("explain.epsiodes=4", "explanation: unknown key 'epsiodes'"),
        ("train.max_stesp=4", "variant 'attention=none': unknown key 'max_stesp'"),
        ("variants=['attention=nome']", "variant 'attention=nome': "),
    ],
)
def test_a_wrong_word_is_refused_before_any_work(tmp_path, word, message):
    with pytest.raises(ValueError, match=message):
        run(["data=D", f"out={tmp_path / 'O'}", word])
    assert not (tmp_path / "O").exists()


def test_the_attention_experiment_measures_every_variant_s_maps():
    words = explanation(values("workers=1"))
    given = configuration("explain", ["checkpoint=C", "out=O", *words])
    assert (given["metrics"], given["workers"], given["env_options"]["family"]) == (
        True,
        1,
        "cluttered",
    )


def test_a_policy_that_has_no_maps_does_not_end_a_sweep(monkeypatch, capsys):
    def nothing(_words):
        raise NothingToExplainError("it reads no tokens")

    monkeypatch.setattr("helmsight.cli.explain.run", nothing)
    assert sweep._explain([]) == 0
    assert "no maps to measure: it reads no tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.seed=7", r"train.seed is set by the sweep itself; give seeds=\[...\]"),
        ("evaluate.workers=5", "evaluate.workers is set by the sweep itself; give workers=..."),
        ("evaluate.checkpoint=parking-s", "evaluate.checkpoint is set by the sweep itself: every"),
        ("explain.out=X", "explain.out is set by the sweep itself; give out=..."),
        ("variants=['attention=removal seed=7,8']", "seed=7': seed is set by the sweep itself"),
        ("variants=['attention=removal out=X']", "out is set by the sweep itself; give out="),
    ],
)
def test_what_the_sweep_sets_itself_is_refused_and_its_own_key_named(tmp_path, word, message):
    with pytest.raises(ValueError, match=message):
        run(["data=D", f"out={tmp_path / 'O'}", word])


def test_an_arm_s_maps_need_recorded_data():
    with pytest.raises(ValueError, match=r"explain.metrics=true .* give explain.data=..."):
        explanation(values("experiment=libero_parts", "explain.metrics=true"))
    words = explanation(values("experiment=libero_parts", "explain.metrics=true", "explain.data=D"))
    assert "data=D" in words


def test_maps_are_not_measured_where_that_is_turned_off():
    assert explanation(values("explain.metrics=false")) is None
    assert explanation(values("experiment=libero_parts")) is None


@pytest.fixture
def two_jobs(tmp_path):
    return [Job(name, 0, [], tmp_path / name) for name in ("first", "second")]


def test_a_job_that_another_process_works_at_is_left_to_it_until_it_is_free(two_jobs, monkeypatch):
    first, _ = two_jobs
    first.folder.mkdir()
    others = lock_file(first.folder / ".lock")
    worked = []

    def look_again(_seconds):
        worked.append("wait")
        others.close()

    monkeypatch.setattr(sweep.time, "sleep", look_again)
    assert share(two_jobs, lambda job: worked.append(job.variant) or 0) == 0
    assert worked == ["second", "wait", "first"]


def test_nobody_else_can_work_at_a_job_under_way(two_jobs):
    def work(job):
        assert lock_file(job.folder / ".lock") is None
        return 0

    assert share(two_jobs, work) == 0
    freed = lock_file(two_jobs[0].folder / ".lock")
    assert freed is not None
    freed.close()


def test_the_first_exit_code_that_is_not_0_ends_a_sweep(two_jobs):
    worked = []
    assert share(two_jobs, lambda job: worked.append(job.variant) or 130) == 130
    assert worked == ["first"]
