"""Which methods and runs can be exported."""

from collections.abc import Mapping

from metarun import algorithms
from metarun.algorithms import Algorithm
from metarun.api.run import Run
from metarun.data.inputs import InputSpec
from metarun.errors import UserError

# Not finetune: where a gradient is zero but for rounding, Adam's step is the sign of the rounding.
EXPORTED: dict[str, type[Algorithm]] = {
    "protonet": algorithms.ProtoNet,
    "matching": algorithms.MatchingNet,
    "relation": algorithms.RelationNet,
    "simpleshot": algorithms.SimpleShot,
    "baselinepp": algorithms.BaselinePP,
    "nearest_centroid": algorithms.NearestCentroid,
    "r2d2": algorithms.R2D2,
    "maml": algorithms.MAML,  # and fomaml
    "anil": algorithms.ANIL,
    "metasgd": algorithms.MetaSGD,
    "mamlpp": algorithms.MAMLPlusPlus,
    "imaml": algorithms.IMAML,
    "cavia": algorithms.CAVIA,
}


def check_exportable(run: Run, fields: Mapping[str, InputSpec]) -> None:
    """Raise a UserError if a run cannot be exported: its method, its inputs or its precision."""
    algorithm = run.algorithm
    if isinstance(algorithm, algorithms.MatchingNet) and algorithm.context is not None:
        raise UserError(
            "algo.full_context=true reads the support examples one by one, so it cannot be exported for any number "
            "of shots",
            "export a run with `algo.full_context=false`.",
        )
    # A subclass of yours is another method: it is tried, and checked like the others.
    if type(algorithm).__module__.startswith("metarun.") and type(algorithm) not in EXPORTED.values():
        raise UserError(
            f"algo={run.result['algo']} cannot be exported", f"these can: {', '.join(EXPORTED)} and fomaml."
        )
    if run.config["precision"] == "bf16":
        raise UserError(
            f"run {run.id} computes in bf16, which the exported formats round differently",
            "train one with `precision=float32`.",
        )
    if len(fields) > 1 or any(spec.kind in ("ids", "mask") for spec in fields.values()):
        raise UserError(
            f"an example of data={run.result['data']} has the fields {', '.join(fields)} but only one array of numbers "
            "can be exported",
            "export a run on pictures, sounds, tables, or texts as TF-IDF.",
        )
