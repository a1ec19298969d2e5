"""Demonstrations on disk (LeRobotDataset v3.0) and the training windows cut from them.

`writer` records episodes, `reader` opens data sets, `frame_cache` keeps decoded frames in a
memory-mapped file, `windows` cuts batches. `format` says what lies where.
"""
