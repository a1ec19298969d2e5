import re
from html.parser import HTMLParser

import pytest
from evaluation_fakes import ChunkPolicy, FakeEnvironment

from helmsight.eval.metrics import compute_metrics
from helmsight.eval.records import EpisodeRecord
from helmsight.eval.report import ReportContent, fill_template, write_report
from helmsight.eval.rollout import EpisodeRunner
from helmsight.eval.video import Film

RUNNER = EpisodeRunner(FakeEnvironment, ChunkPolicy())
RECORDS = [RUNNER.run(episode) for episode in range(6)]


def content(records=RECORDS, films=(), **origin):
    provenance = {"policy": "fake", "command": "helmsight eval <x>", **origin}
    return ReportContent(compute_metrics(records), provenance, records, films)


def written(tmp_path, *arguments, **others):
    write_report(tmp_path / "report.html", content(*arguments, **others))
    return (tmp_path / "report.html").read_text()


class Balance(HTMLParser):
    """Collects tags that are closed in the wrong order."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_asks_the_network_for_nothing(tmp_path):
    page = written(tmp_path)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "default-src 'none'" in page


def test_the_page_is_well_formed(tmp_path):
    balance = Balance()
    balance.feed(written(tmp_path))
    assert (balance.open, balance.wrong) == ([], [])


def test_every_episode_has_a_plan_and_a_row(tmp_path):
    page = written(tmp_path)
    assert len(re.findall(r'class="tile [^"]*" data-episode="\d+"', page)) == len(RECORDS)
    assert len(re.findall(r"<tr data-episode=", page)) == len(RECORDS)
    assert len(re.findall(r'<svg class="plan o-', page)) == len(RECORDS)


def test_tiles_come_worst_first(tmp_path):
    outcomes = re.findall(r'class="tile o-(\w+)"', written(tmp_path))
    assert outcomes == ["CR", "TR", "TFR", "TSR", "TSR", "TSR"]


def test_text_from_outside_is_escaped(tmp_path):
    page = written(tmp_path, [EpisodeRecord(episode=0, error="<i>&lost")], policy="<img>")
    assert "<i>&" not in page and "<img>" not in page
    assert "helmsight eval &lt;x&gt;" in page


def test_oracle_targets_are_called_no_result(tmp_path):
    assert "simulator truth" in written(tmp_path, target_source="oracle")
    assert "simulator truth" not in written(tmp_path, target_source="tracked")


def test_a_film_that_ended_otherwise_than_recorded_is_announced(tmp_path):
    film = Film(2, b"mp4", b"jpeg", "TSR", agrees=False)
    page = written(tmp_path, films=[film])
    assert "did not end as recorded: 2." in page
    assert "Driven again it ended as TSR." in page


def test_an_evaluation_without_a_vehicle_has_a_report_without_plans(tmp_path):
    records = [
        EpisodeRecord(
            episode=0,
            success=True,
            outcome="TSR",
            metrics={"position_error": 0.0, "orientation_error": 0.0, "parking_time": 1.0},
        )
    ]
    assert '<svg class="plan' not in written(tmp_path, records)


def test_a_template_name_without_a_part_is_an_error():
    with pytest.raises(KeyError, match="missing"):
        fill_template("{{missing}}", {})


def test_a_part_that_looks_like_a_name_is_left_alone():
    assert fill_template("{{a}}", {"a": "{{b}}"}) == "{{b}}"
