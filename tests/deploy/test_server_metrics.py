import pytest

from helmsight.deploy.metrics import Histogram, LabelledCounter, ServerMetrics


def test_a_histogram_counts_what_lies_at_or_below_each_bound():
    histogram = Histogram("seconds", "Time.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert list(histogram.lines())[2:] == [
        'seconds_bucket{le="0.1"} 2',
        'seconds_bucket{le="1"} 3',
        'seconds_bucket{le="+Inf"} 4',
        "seconds_sum 7.65",
        "seconds_count 4",
    ]


def test_a_counter_shows_every_value_of_its_label_from_the_start():
    counter = LabelledCounter("things_total", "Things.", "kind", ("good", "bad"))
    counter.add("bad")
    assert list(counter.lines())[2:] == [
        'things_total{kind="good"} 0',
        'things_total{kind="bad"} 1',
    ]


def test_a_counter_refuses_a_value_that_it_does_not_know():
    with pytest.raises(ValueError, match="no kind 'odd'"):
        LabelledCounter("things_total", "Things.", "kind", ("good",)).add("odd")


def test_every_line_of_the_text_is_a_comment_or_a_sample():
    text = ServerMetrics(lambda: 3, lambda: 2).text()
    assert text.endswith("\n")
    for line in text.splitlines():
        if not line.startswith(("# HELP helmsight_", "# TYPE helmsight_")):
            name, value = line.rsplit(" ", 1)
            assert name.startswith("helmsight_")
            float(value)
    assert "helmsight_queue_length 3\n" in text and "helmsight_connections 2\n" in text
