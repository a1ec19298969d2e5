"""Reading: LeRobot's own layouts, and errors that name what is wrong."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import FPS, all_features, embodiment, episode, length_of, record

from helmsight.training.dataset.format import DatasetError
from helmsight.training.dataset.reader import LeRobotDataset
from helmsight.training.dataset.statistics import POOLED_ABOVE
from helmsight.training.dataset.video import encode_video

FRONT = "observation.images.front"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record(tmp_path_factory.mktemp("reader") / "set", 3)


@pytest.fixture
def root(recorded, tmp_path):
    """A copy to damage."""
    return shutil.copytree(recorded, tmp_path / "set")


def pack_into_shared_files(root):
    """Lay out three episodes as LeRobot does: one data file and one video a camera for all."""
    folder = root / "data" / "chunk-000"
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    shutil.rmtree(folder)
    folder.mkdir()
    with pq.ParquetWriter(folder / "file-000.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)  # one row group an episode
    lengths = [length_of(number) for number in range(3)]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) / FPS
    rows_path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    rows = pq.read_table(rows_path).to_pydict()
    rows["data/file_index"] = [0, 0, 0]
    for key in embodiment().image_keys:
        parts = [episode(all_features(), n, i)[key] for i, n in enumerate(lengths)]
        folder = root / "videos" / key / "chunk-000"
        shutil.rmtree(folder)
        folder.mkdir()
        encode_video(folder / "file-000.mp4", np.concatenate(parts), FPS)
        rows[f"videos/{key}/file_index"] = [0, 0, 0]
        rows[f"videos/{key}/from_timestamp"] = starts.tolist()
    pq.write_table(pa.table(rows), rows_path)


def test_episodes_that_share_files_are_told_apart(recorded, root):
    pack_into_shared_files(root)
    ours, packed = LeRobotDataset(recorded), LeRobotDataset(root)
    for key in ("action", "observation.depth.front", "next.done", "index"):
        assert np.array_equal(packed.columns(key), ours.columns(key))
    every = np.arange(ours.num_frames)[::-1]
    for key in (FRONT, "observation.birds_eye"):
        error = np.abs(packed.frames(key, every).astype(int) - ours.frames(key, every))
        assert error.mean() < 3.0


def test_frames_come_in_the_order_asked_for(recorded):
    dataset = LeRobotDataset(recorded)
    every = dataset.frames(FRONT, np.arange(dataset.num_frames))
    chosen = [8, 2, 2, 14, 0]
    assert np.array_equal(dataset.frames(FRONT, chosen), every[chosen])


def test_scalars_are_one_dimensional_and_vectors_two(recorded):
    dataset = LeRobotDataset(recorded)
    assert dataset.columns("next.done").shape == (15,)
    assert dataset.columns("action").shape == (15, 2)
    assert dataset.columns("observation.depth.front").dtype == np.uint16
    assert dataset.episode_bounds.tolist() == [[0, 4], [4, 9], [9, 15]]
    assert dataset.episode_of([0, 3, 4, 14]).tolist() == [0, 0, 1, 2]


def test_rows_of_an_unfinished_commit_are_ignored(root):
    info_path = root / "meta" / "info.json"
    info = json.loads(info_path.read_text())
    info_path.write_text(json.dumps({**info, "total_episodes": 2, "total_frames": 9}))
    dataset = LeRobotDataset(root)
    assert dataset.num_episodes == 2
    assert len(dataset.columns("action")) == 9


def test_a_truncated_parquet_file_is_named(root):
    path = root / "data" / "chunk-000" / "file-001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"file-001\.parquet.*truncated"):
        LeRobotDataset(root).columns("action")


def test_a_data_file_with_missing_rows_is_named(root):
    path = root / "data" / "chunk-000" / "file-001.parquet"
    pq.write_table(pq.read_table(path).slice(0, 3), path)
    with pytest.raises(DatasetError, match=r"file-001\.parquet: has 3 rows.* need 5"):
        LeRobotDataset(root).columns("action")


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_a_truncated_video_is_named(root, kept):
    path = root / "videos" / FRONT / "chunk-000" / "file-002.mp4"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DatasetError, match=r"front/chunk-000/file-002\.mp4.*truncated"):
        LeRobotDataset(root).frames(FRONT, [10])


def test_a_video_with_too_few_frames_is_named(root):
    path = root / "videos" / FRONT / "chunk-000" / "file-002.mp4"
    encode_video(path, episode(all_features(), 3, 2)[FRONT], FPS)
    with pytest.raises(DatasetError, match=r"file-002\.mp4: no frame at 0\.500 s"):
        LeRobotDataset(root).frames(FRONT, [9, 14])


def test_a_video_of_another_size_is_named(root):
    path = root / "videos" / FRONT / "chunk-000" / "file-000.mp4"
    encode_video(path, np.zeros((4, 16, 24, 3), np.uint8), FPS)
    with pytest.raises(DatasetError, match=r"16 x 24.*front.* 32 x 32"):
        LeRobotDataset(root).frames(FRONT, [0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("meta/info.json", "no data set here"),
        ("meta/tasks.parquet", r"tasks\.parquet: the file is missing"),
        ("meta/episodes/chunk-000/file-000.parquet", "expected one row.*3 episodes.*found 0"),
        ("data/chunk-000/file-000.parquet", r"file-000\.parquet: the file is missing"),
        (f"videos/{FRONT}/chunk-000/file-000.mp4", r"file-000\.mp4: the video file is missing"),
    ],
)
def test_a_missing_file_is_named(root, name, message):
    (root / name).unlink()
    with pytest.raises(DatasetError, match=message):
        dataset = LeRobotDataset(root)
        dataset.columns("action")
        dataset.frames(FRONT, [0])


def test_another_format_version_is_refused(root):
    path = root / "meta" / "info.json"
    path.write_text(path.read_text().replace("v3.0", "v2.1"))
    with pytest.raises(DatasetError, match=r"codebase_version is 'v2\.1', expected 'v3\.0'"):
        LeRobotDataset(root)


def test_a_missing_feature_is_named_with_those_there(recorded):
    with pytest.raises(DatasetError, match=r"no feature 'actions'.*action"):
        LeRobotDataset(recorded).columns("actions")


def test_pictures_and_numbers_are_not_confused(recorded):
    dataset = LeRobotDataset(recorded)
    with pytest.raises(DatasetError, match=r"frames.. reads pictures"):
        dataset.columns(FRONT)
    with pytest.raises(DatasetError, match="holds no pictures"):
        dataset.frames("action", [0])


def test_another_embodiment_is_refused_with_the_differences(recorded, root):
    dataset = LeRobotDataset(recorded)
    dataset.require_embodiment(embodiment())
    with pytest.raises(DatasetError, match="name: 'van' here, 'cart' there"):
        dataset.require_embodiment(embodiment("van"))
    (root / "meta" / "embodiment.json").unlink()
    with pytest.raises(DatasetError, match=r"embodiment\.json: the file is missing"):
        LeRobotDataset(root).require_embodiment(embodiment())


def test_frames_outside_the_data_set_are_refused(recorded):
    with pytest.raises(IndexError, match="0 to 14"):
        LeRobotDataset(recorded).frames(FRONT, [15])


def changed_info(root, **entries):
    path = root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"fps": 0}, "fps must be a whole number of at least 1, got 0"),
        ({"fps": "x"}, "fps must be a whole number"),
        ({"fps": FPS + 1}, f"fps is {FPS + 1}, the robot of"),
        ({"chunks_size": 0}, "chunks_size must be"),
        ({"total_episodes": "x"}, "total_episodes must be"),
        ({"features": [1]}, "features must be an object"),
        ({"features": {"action": 3}}, "feature 'action' needs dtype and shape"),
        ({"data_path": "data/{x}.parquet"}, "data_path is no path template"),
    ],
)
def test_a_wrong_entry_of_info_is_named_with_its_file(root, entries, message):
    changed_info(root, **entries)
    with pytest.raises(DatasetError, match=rf"info\.json: {message}"):
        LeRobotDataset(root)


def test_info_that_is_no_object_is_named(root):
    (root / "meta" / "info.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"info\.json: expected an object, got list"):
        LeRobotDataset(root)


def test_numbers_that_are_not_finite_are_named_by_file_column_and_row(root):
    path = sorted((root / "data").glob("*/*.parquet"))[1]
    table = pq.read_table(path)
    place = table.column_names.index("observation.state")
    rows = np.array(table["observation.state"].to_pylist(), np.float32)
    rows[2, 0] = np.nan
    values = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    table = table.set_column(place, table.schema.field(place), values)
    pq.write_table(table, path)
    with pytest.raises(DatasetError, match=rf"{path.name}: column 'observation.state' .* in row 2"):
        LeRobotDataset(root).columns("observation.state")


def test_a_long_vector_s_pooled_statistics_fit(tmp_path):
    features = {"simulator.state": {"dtype": "float64", "shape": [POOLED_ABOVE + 1], "names": None}}
    data = LeRobotDataset(record(tmp_path / "data", 2, features))
    assert data.statistics["simulator.state"]["mean"].shape == (1,)


def test_statistics_that_do_not_fit_are_named(root):
    path = root / "meta" / "stats.json"
    whole = json.loads(path.read_text())
    for text, message in (
        ("[]", "expected an object"),
        (json.dumps(whole | {"action": {"mean": [0.0]}}), "'action' has 1 means"),
        (
            json.dumps(whole | {"action": {"mean": [float("nan")] * 3}}),
            "mean of 'action' holds NaN",
        ),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=rf"stats\.json: {message}"):
            _ = LeRobotDataset(root).statistics


def test_tasks_that_are_not_counted_from_0_are_refused(root):
    path = root / "meta" / "tasks.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("task_index")
    moved = pa.array([index + 5 for index in table["task_index"].to_pylist()])
    pq.write_table(table.set_column(place, "task_index", moved), path)
    with pytest.raises(DatasetError, match=r"tasks\.parquet: task_index must count from 0"):
        LeRobotDataset(root)
