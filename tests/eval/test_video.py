import dataclasses
import io

import av
import numpy as np
import pytest
from evaluation_fakes import ChunkPolicy, FakeEnvironment

from helmsight.eval.filming import FilmChoice, make_films
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.rollout import EpisodeRunner
from helmsight.eval.video import FilmJob, draw_cameras, encode, lay_attention

RUNNER = EpisodeRunner(FakeEnvironment, ChunkPolicy())


def test_encoded_frames_come_back_in_number_and_size():
    frames = [np.full((40, 60, 3), 20 * i, np.uint8) for i in range(8)]
    with av.open(io.BytesIO(encode(frames))) as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        assert stream.codec_context.name == "h264"
    assert len(decoded) == 8
    assert (decoded[0].height, decoded[0].width) == (40, 60)


def test_a_film_agrees_with_the_record_of_a_deterministic_episode():
    record = RUNNER.run(2)
    film = FilmJob(record).run(RUNNER)
    assert film.agrees and film.outcome == "CR"
    assert film.poster.startswith(b"\xff\xd8") and b"ftyp" in film.mp4[:16]


def test_a_film_that_ends_otherwise_says_so():
    record = dataclasses.replace(RUNNER.run(2), outcome="TSR")
    assert not FilmJob(record).run(RUNNER).agrees


def test_filming_does_not_change_the_path():
    plain = RUNNER.run(1)
    filmed = RUNNER.run(1, spectator=lambda moment: RUNNER.environment.unwrapped.observe())
    assert filmed.path == plain.path


def test_attention_changes_the_image_only_where_it_is():
    image = np.full((8, 8, 3), 100, np.uint8)
    attention = np.zeros((8, 8), np.float32)
    attention[2, 3] = 1.0
    laid = lay_attention(image, attention)
    assert (laid[2, 3] != 100).any()
    assert (laid[6:, :] == 100).all()


def test_the_thing_is_ringed_and_its_place_boxed_where_the_policy_is_sure():
    key, picture = "observation.images.front", np.zeros((48, 48, 3), np.uint8)
    plain = draw_cameras({key: picture}, {})
    sure, unsure = (
        draw_cameras({key: picture}, {f"pointing.{key}": [(0.5, 0.25, how), (0.25, 0.75, how)]})
        for how in (0.9, 0.2)
    )
    assert np.array_equal(plain, unsure)
    changed = (sure != plain).any(axis=2)
    side = 192
    rows, columns = np.nonzero(changed[:, side // 2 - 20 : side // 2 + 20])
    assert abs(rows.mean() - side / 4) < 2 and abs(columns.mean() - 20) < 2
    assert changed[3 * side // 4, side // 4 - 8] and not changed[3 * side // 4, side // 4]


@pytest.mark.parametrize("attention", [None, np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_no_attention_leaves_the_image_as_it_is(attention):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(lay_attention(image, attention), image)


@pytest.mark.parametrize(("cameras", "width"), [(1, 384), (4, 384), (6, 576)])
def test_the_mosaic_is_two_rows_high_for_any_rig(cameras, width):
    image = np.zeros((16, 16, 3), np.uint8)
    observation = {f"observation.images.camera{i}": image for i in range(cameras)}
    assert draw_cameras(observation, {}).shape == (384, width, 3)


def test_a_rig_without_cameras_has_no_mosaic():
    assert draw_cameras({"observation.state": np.zeros(8)}, {}) is None


def outcomes(names):
    return [
        EpisodeRecord(
            episode=i, outcome=name, success=name == "TSR", metrics={"position_error": 0.1 * i}
        )
        for i, name in enumerate(names)
    ]


def test_failures_are_chosen_worst_first_and_successes_from_far_to_near():
    records = outcomes(["TSR", "TR", "TSR", "CR", "TSR", "TFR"])
    chosen = FilmChoice(failures=2, successes=2).pick(records)
    assert [record.episode for record in chosen] == [3, 1, 4, 0]


def test_the_note_says_how_many_failures_are_left_out():
    records = [RUNNER.run(episode) for episode in (1, 2, 4, 5)]

    def run(jobs):
        return ((job, job.run(RUNNER)) for job in jobs)

    films = make_films(records, FilmChoice(failures=1, successes=0), run)
    assert [film.outcome for film in films.films] == ["CR"]
    assert films.note.startswith("1 of 3 failures, worst first, then 0 of 1 successes")
