"""The files have the names, types and metadata of LeRobotDataset v3.0."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import FPS, SIZE, record

from helmsight.training.dataset.format import STATISTIC_NAMES


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return record(tmp_path_factory.mktemp("format") / "set", 2)


def test_info_has_the_entries_that_readers_expect(root):
    info = json.loads((root / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["fps"] == FPS
    assert isinstance(info["fps"], int)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (2, 9, 1)
    assert info["chunks_size"] == 1000
    assert info["splits"] == {"train": "0:2"}
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["features"]["observation.images.front"]["dtype"] == "video"
    assert info["features"]["observation.images.front"]["shape"] == [SIZE, SIZE, 3]
    assert info["features"]["index"] == {"dtype": "int64", "shape": [1], "names": None}


def test_the_task_is_the_pandas_index_of_the_task_table(root):
    schema = pq.read_schema(root / "meta" / "tasks.parquet")
    pandas = json.loads(schema.metadata[b"pandas"])
    assert pandas["index_columns"] == ["__index_level_0__"]
    table = pq.read_table(root / "meta" / "tasks.parquet")
    assert table.to_pydict() == {"task_index": [0], "__index_level_0__": ["park"]}


def test_columns_have_the_types_of_the_format(root):
    schema = pq.read_schema(root / "data" / "chunk-000" / "file-000.parquet")
    assert schema.field("action").type == pa.list_(pa.float32(), 2)
    assert schema.field("observation.depth.front").type == pa.list_(pa.uint16(), 256)
    assert schema.field("next.done").type == pa.bool_()
    assert schema.field("timestamp").type == pa.float32()
    assert schema.field("index").type == pa.int64()
    image = schema.field("observation.birds_eye").type
    assert image == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert "observation.images.front" not in schema.names


def test_automatic_columns_count_frames_and_episodes(root):
    table = pq.read_table(root / "data" / "chunk-000" / "file-001.parquet")
    assert table["frame_index"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["index"].to_pylist() == [4, 5, 6, 7, 8]
    assert table["episode_index"].to_pylist() == [1] * 5
    assert table["task_index"].to_pylist() == [0] * 5
    expected = (np.arange(5) / FPS).astype(np.float32)
    assert np.array_equal(table["timestamp"].to_numpy(), expected)


def test_pictures_are_marked_for_hugging_face_datasets(root):
    schema = pq.read_schema(root / "data" / "chunk-000" / "file-000.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["observation.birds_eye"] == {"_type": "Image"}
    assert features["timestamp"] == {"dtype": "float32", "_type": "Value"}


def test_an_episode_row_says_where_everything_lies(root):
    table = pq.read_table(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    row = table.to_pylist()[1]
    assert (row["episode_index"], row["tasks"], row["length"]) == (1, ["park"], 5)
    assert (row["dataset_from_index"], row["dataset_to_index"]) == (4, 9)
    assert (row["data/chunk_index"], row["data/file_index"]) == (0, 1)
    assert (row["meta/episodes/chunk_index"], row["meta/episodes/file_index"]) == (0, 0)
    key = "videos/observation.images.rear"
    assert (row[f"{key}/chunk_index"], row[f"{key}/file_index"]) == (0, 1)
    assert (row[f"{key}/from_timestamp"], row[f"{key}/to_timestamp"]) == (0.0, 0.5)
    assert (root / "videos" / "observation.images.rear" / "chunk-000" / "file-001.mp4").is_file()


def test_every_feature_has_every_statistic(root):
    statistics = json.loads((root / "meta" / "stats.json").read_text())
    info = json.loads((root / "meta" / "info.json").read_text())
    assert statistics.keys() == info["features"].keys()
    for entry in statistics.values():
        assert entry.keys() == set(STATISTIC_NAMES)
    image = np.asarray(statistics["observation.images.front"]["mean"])
    assert image.shape == (3, 1, 1)
    assert 0.0 < image.min() < image.max() < 1.0
