"""Judging a result: metrics against a truth, classical baselines and figures."""
