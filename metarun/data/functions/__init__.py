"""Families of functions by formula: each function is a regression task."""
