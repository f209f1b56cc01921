"""Texts: files with a label column, their features, and the published intent data sets."""
