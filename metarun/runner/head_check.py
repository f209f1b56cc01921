"""Check that the head of a method fits the tasks."""

from metarun.config.key_origins import set_by, source_key
from metarun.errors import UserError, counted
from metarun.runner.components import Parts
from metarun.tasks.batch import TaskShape
from metarun.tasks.imbalance import unequal_shots


def check_head(parts: Parts, shape: TaskShape) -> None:
    """Raise a UserError if the method's head does not fit the way of such tasks, or unequal shots do not fit it."""
    method, source, algo = parts.method, parts.source, parts.config["chosen"]["algo"]
    if unequal_shots(shape.imbalance) and method.needs_equal_shots:
        key = source_key(shape.key("imbalance"))
        raise UserError(
            f"{key}={shape.imbalance}{set_by(key)} but {algo} needs the same number of examples of each class",
            f"set `{key}=null`, or use a method that does not, such as protonet or maml.",
        )
    outputs, targets = method.outputs, source.outputs
    ways = {shape.way, *(shape.smallest or ())[:1]}
    needed = ways if targets is None else {targets}
    if outputs is None or needed == {outputs} or (targets is not None and shape.way != 1):
        return  # the stream reports an invalid way in regression
    if targets is not None and targets != 1:
        raise UserError(
            f"this {algo} has a fixed head for {counted(outputs, 'target')} but data={source.name} has {targets}",
            "omit `algo.outputs`, or meta-train a run on such data.",
        )
    key, head = source_key(shape.key("way")), source_key("algo.outputs")
    if key != head and not parts.is_trained:
        remedy = f"set `{head}`{set_by(head)} and `{key}` to the same value"
    else:
        remedy = f"meta-train a run with `task.way={shape.way}`"
    raise UserError(
        f"way={'..'.join(map(str, sorted(ways)))}{set_by(key)} but this {algo} has a fixed head for {outputs} classes",
        f"{remedy}, or use a method without a fixed head, such as protonet.",
    )
