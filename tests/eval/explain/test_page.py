import json
import re

import numpy as np
import pytest
from analytical_policy import SIZE, positive_tokens, recording_of

from helmsight.eval.explain.film import draw_explanation
from helmsight.eval.explain.measures import EpisodeMeasures
from helmsight.eval.explain.page import PageContent, player_data, write_page
from helmsight.eval.explain.summary import MEASURES, summarise_measures
from helmsight.eval.explain.tables import LEADS
from helmsight.eval.explain.view import Explained
from helmsight.policies.modules.birds_eye import Grid

COUNT = 3
ORIGIN = {"policy": "</script><b>", "command": "helmsight explain"}


def explained(**changes):
    """Three moments of a policy without cameras; its maps lie on one token each."""
    spot = np.zeros((COUNT, SIZE**2), np.float32)
    spot[np.arange(COUNT), [0, 5, 9]] = 1.0
    values = {
        "recording": recording_of(positive_tokens(COUNT)),
        "grid": Grid(SIZE, 10.0),
        "image_keys": (),
        "action_names": ("acceleration", "steer"),
        "maps": {"gradient": spot, "masking": spot[:, ::-1].copy()},
        "camera_maps": None,
        "saliency": None,
        "actions": np.zeros((COUNT, 2), np.float32),
        "waypoints": None,
        "agreement": {"gradient": np.array([0.5, np.nan, 1.0])},
    }
    return Explained(**{**values, **changes})


def written(tmp_path, **content):
    parts = {"explained": None, "measures": None, "provenance": ORIGIN, **content}
    write_page(tmp_path / "explain.html", PageContent(**parts))
    return (tmp_path / "explain.html").read_text()


def test_a_policy_without_cameras_has_a_page_without_them(tmp_path):
    page = written(tmp_path, explained=explained())
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    data = json.loads(found.group(1).replace("<\\/", "</"))
    assert data["cameras"] == [] and data["pictures"] == [] and data["cameraMaps"] is None
    assert data["agreement"]["gradient"] == [0.5, None, 1.0]
    assert data["labels"][0].startswith("data:image/png;base64,")


def test_maps_are_packed_with_their_largest_value_full():
    import base64

    data = player_data(explained())
    packed = np.frombuffer(base64.b64decode(data["tokens"]), np.uint8)
    packed = packed.reshape(COUNT, 2, SIZE**2)
    assert packed[1, 0, 5] == 255 and packed[1, 0].sum() == 255
    assert data["peaks"] == [[1.0, 1.0]] * COUNT


def test_a_page_of_measures_alone_hides_the_player(tmp_path):
    measures = summarise_measures(
        [EpisodeMeasures(0, 1, {"entropy": {"gradient": [0.25]}}, {"gradient": [[0, 1], [1, 0]]})],
        {},
    )
    page = written(tmp_path, measures=measures)
    assert re.search(r'id="player"[^>]* hidden>', page)
    assert ">0.250<" in page and "<h2>Focus</h2>" in page and "<h2>Shift</h2>" not in page


def test_what_comes_from_outside_ends_no_element_early(tmp_path):
    page = written(tmp_path, explained=explained())
    assert page.count("</script>") == 2
    assert "<b>" not in page.split("<h1>")[0]


def test_a_film_has_a_picture_a_moment_of_even_size():
    pictures = list(draw_explanation(explained()))
    assert len(pictures) == COUNT
    height, width, _ = pictures[0].shape
    assert height % 2 == 0 and width == 2 * 384


def test_a_film_without_any_map_is_refused():
    with pytest.raises(ValueError, match="none of the maps"):
        next(draw_explanation(explained(maps={"random": np.ones((COUNT, SIZE**2), np.float32)})))


def test_every_group_of_measures_has_a_section():
    assert {measure.group for measure in MEASURES.values()} == set(LEADS)
