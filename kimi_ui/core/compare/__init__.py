"""Comparing answers: units, differences, conclusions. Pure."""
