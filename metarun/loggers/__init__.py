"""Loggers that write a run's metrics for other tools, one per file."""

from metarun.loggers.csv import Csv
from metarun.loggers.logbook import Logbook, hyperparameters
from metarun.loggers.logger import LoggedRun, Logger, Outcome
from metarun.loggers.mlflow import MLflow
from metarun.loggers.tensorboard import TensorBoard
from metarun.loggers.wandb import Wandb

__all__ = ["Csv", "Logbook", "LoggedRun", "Logger", "MLflow", "Outcome", "TensorBoard", "Wandb", "hyperparameters"]
