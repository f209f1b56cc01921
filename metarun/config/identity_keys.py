"""Which keys of a config are in the id of a run; without Hydra, for tables."""

STORAGE = "data.storage"
EMBEDDING = "task.embedding"

# Keys that cannot change a run's numbers, or that only repeat another key.
EXCLUDED_FROM_ID = (
    *("device", "results_dir", "force", "retry_failed", "logger", "paper_backbone", "published"),
    "encoder_input",
    *("train.checkpoint_every", "train.over_tasks", "train.compile", "algo.over_tasks", "algo.recompute", STORAGE),
)

# Keys added in later versions, with the value that earlier runs used; with this value they do not change the id.
# They can all change a number, and a run with `deterministic` must not be replaced by one without it.
ADDED_KEYS = {
    **{"tf32": False, "deterministic": False, "test.interval": "closed", "data.invert": False},
    **{"train.augment": None, "train.cuda_graph": False, "test.unknown": 0, "test.out_of_scope": 0},
    **{"test.weights": "best"},
    **{"data.noise": 0.0, "data.test_amplitude": None, "data.test_phase": None, "data.test_x": None},
    **{"data.classes": "speaker_digit", "data.groups": None, "data.subfolders": "classes", "data.backwards": False},
    **{"data.features": "log_mel"},
    **{"task.labels": "classes", "task.embedding": "pixels", "task.clusters": 500, "task.partitions": 1},
    **{f"{group}.{key}": None for group in ("task", "train") for key in ("within", "across", "imbalance")},
}

# Arguments added to metarun's classes in later versions, with the value that stands for what they did before.
_ADAPT: dict[str, object] = {"adapt": "all", "adapt_rank": 8, "adapt_alpha": 8.0}
ADDED_ARGUMENTS: dict[str, dict[str, object]] = {
    **{f"metarun.algorithms.{name}": {"label_smoothing": 0.0} for name in ("Baseline", "BaselinePP", "SimpleShot")},
    **{f"metarun.algorithms.{name}": _ADAPT for name in ("MAML", "MetaSGD", "MAMLPlusPlus")},
    "metarun.algorithms.FineTune": {"label_smoothing": 0.0, **_ADAPT},
}
