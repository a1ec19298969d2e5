"""Closed-loop evaluation: roll-outs, metrics with intervals, reports and paired comparisons."""
