"""LIBERO: a Franka arm that follows an instruction (Liu et al. 2023, arXiv:2306.03310).

The benchmark itself is the package hf-libero, the extra `libero`; nothing of it is imported before
a simulator is made.
"""
