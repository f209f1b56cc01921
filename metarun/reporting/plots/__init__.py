"""Figures for papers, from plain numbers; what imports matplotlib, and nothing of runs."""
