"""Comparison of answers: units, diff, conclusions."""
