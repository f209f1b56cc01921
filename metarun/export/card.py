"""The texts of an export: `README.md`, a model card, and `metadata.json`."""

import hashlib
from typing import Any

import torch

from metarun.export.check import TOLERANCE, Checked
from metarun.export.formats import FORMATS, Format
from metarun.export.model import OUTPUT
from metarun.export.request import Request
from metarun.results.metrics import figure, metric_of
from metarun.results.provenance import versions
from metarun.results.settings import long_setting

VERSION = 1  # of metadata.json; increase it with every incompatible change

Metadata = dict[str, Any]


def metadata(name: str, module: Format, request: Request, checked: Checked, sizes: Metadata) -> Metadata:
    """Return the content of `metadata.json`.

    Args:
        name: of the format.
        module: that wrote it.
        request: what was exported.
        checked: the comparison with torch.
        sizes: the keys of the model's size and times.
    """
    run, result = request.run, request.run.result
    shape, regression = list(request.input.shape), result.get("chance") is None
    outputs = request.outputs
    labels: Metadata = {"shape": ["support"], "dtype": "int64"}
    if regression:
        labels = {"shape": ["support", outputs], "dtype": "float32"}
    return {
        "version": VERSION,
        "format": name,
        "file": module.FILE,
        "run": run.id,
        "algo": result["algo"],
        "data": result["data"],
        "backbone": result["backbone"],
        "task": "regression" if regression else "classification",
        "inputs": {
            "support_x": {"shape": ["support", *shape], "dtype": "float32", "scaling": _scaling(request)},
            "support_y": labels,
            "query_x": {"shape": ["query", *shape], "dtype": "float32", "scaling": _scaling(request)},
        },
        "outputs": {OUTPUT: {"shape": ["query", outputs], "dtype": "float32"}},
        "way": None if regression else request.way,
        "classes": None if regression else list(range(request.way)),
        "shot": {"min": 1, "max": None, "equal": bool(run.algorithm.needs_equal_shots)},
        "query": {"min": 1, "max": None},
        "steps": request.steps,
        "transductive": bool(result["transductive"]),
        "weights_sha256": weights_hash(request),
        "versions": {**versions(), **module.versions()},
        "check": {"tasks": checked.tasks, "largest_difference": checked.largest_difference, "tolerance": TOLERANCE},
        **sizes,
        "adapt_ms": round(checked.model_ms, 3),
        "torch_adapt_ms": round(checked.torch_ms, 3),
    }


def weights_hash(request: Request) -> str:
    """Return a SHA-256 of all weights and running statistics, by name."""
    digest = hashlib.sha256()
    for name, weight in sorted(request.algorithm.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _scaling(request: Request) -> str:
    if request.input.kind != "bytes":
        return "numbers as the data set gives them"
    node = request.run.config["data"]
    light = node["_target_"] in ("metarun.data.Omniglot", "metarun.data.Glyphs") or node.get("invert", False)
    return "bytes from 0 to 255, divided by 255" + ("; ink is light, paper is dark" if light else "")


def card(about: Metadata, module: Format, request: Request) -> str:
    """Return the model card, as Markdown."""
    run, result = request.run, request.run.result
    metric = metric_of(result)
    floor = f"; floor {metric.text(result[metric.floor])}" if result.get(metric.floor) is not None else ""
    shape = " x ".join(map(str, request.input.shape))
    return f"""\
# {result["algo"]} on {result["data"]}, as {FORMATS[about["format"]]}

A few-shot learner: it takes a support set with labels and queries, adapts to the support set{_steps(about)}, and
returns the {_outputs(about)} of the queries. Exported by metarun {about["versions"]["metarun"]} from run {run.id}.

| file | content |
|---|---|
| `{about["file"]}` | the model |
| `metadata.json` | inputs, outputs, limits, versions and hashes, for programs |
| `example.npz` | one meta-test task: `support_x`, `support_y`, `query_x`, and the expected `{OUTPUT}` |

## Use it

```python
{module.CALL}
assert abs(logits - example["{OUTPUT}"]).max() <= {TOLERANCE:.0e} * max(1, abs(example["{OUTPUT}"]).max())
```

- `support_x`: (support, {", ".join(map(str, request.input.shape))}) float32; {_scaling(request)}.
- `support_y`: {_labels(about)}
- `query_x`: like `support_x`, with any number of queries.
- `{OUTPUT}`: (query, {about["outputs"][OUTPUT]["shape"][1]}) float32{_probabilities(about)}

The numbers of support examples and queries may differ from call to call.{_transductive(about)}

## Figures

{metric.axis}: {figure(result)} on {result["test_tasks"]:,} meta-test tasks, {long_setting(result)} (± is the 95 % \
interval{floor}).
{_of_other_tasks(about, result)}On {about["check"]["tasks"]} meta-test tasks the largest difference from torch was \
{about["check"]["largest_difference"]:.1e}, relative to max(1, |logit|).

## Data

Trained on `data={result["data"]}` (examples of {shape}; SHA-256 of the data {str(result.get("data_hash"))[:16]}…).
Licence of the data: {request.licence}.

## Intended use

{_intended_use(about)}
"""


def _steps(about: Metadata) -> str:
    steps = about["steps"]
    return f" by {steps} gradient step{'s' if steps != 1 else ''}" if steps else ""


def _outputs(about: Metadata) -> str:
    return "predicted numbers" if about["task"] == "regression" else "logits of the classes"


def _labels(about: Metadata) -> str:
    if about["task"] == "regression":
        return f"(support, {about['outputs'][OUTPUT]['shape'][1]}) float32, the known numbers."
    return f"(support) int64 labels from 0 to {about['way'] - 1}; each class at least once."


def _probabilities(about: Metadata) -> str:
    if about["task"] == "regression":
        return ", the predicted numbers."
    return "; their softmax is the probability of each class, in the order of the labels."


def _transductive(about: Metadata) -> str:
    if not about["transductive"]:
        return ""
    return (
        "\n**Transductive:** a query's prediction depends on the other queries of the call, so pass as many at once as "
        "in\nthe figures below."
    )


def _of_other_tasks(about: Metadata, result: Metadata) -> str:
    # A row has 0 steps if its method takes none, whatever was asked for.
    steps = (result["steps"], result.get("steps_asked"))
    same = about["way"] in (None, result["test_way"]) and about["steps"] in steps
    return "" if same else "This export has another way or number of steps, so the figure does not apply to it.\n"


def _intended_use(about: Metadata) -> str:
    if about["task"] == "regression":
        return """\
Functions or entities that were not in training, of examples like those of the data above.
The figures are those of the data above: measure on examples of your own with known numbers before you rely on a
prediction."""
    return f"""\
Classes that were not in training, of examples like those of the data above, {about["way"]} at a time.
The figures are those of the data above: measure on labelled examples of your own before you rely on an answer. A query
that belongs to none of the support classes is still assigned one of them."""
