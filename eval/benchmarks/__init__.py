"""Benchmarks: how fast this machine simulates, trains and decides. One subject a module."""
