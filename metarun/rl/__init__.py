"""Reinforcement learning: tasks that are environments, trajectories, policies, baselines and the trust region step."""
