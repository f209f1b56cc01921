"""Families of environments: each environment is a task of reinforcement learning."""
