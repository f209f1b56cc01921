"""In-context few-shot classification by a language model that reads the support set in its prompt."""

from string import ascii_uppercase
from typing import ClassVar, Literal

from torch import Tensor

from metarun.algorithms.reptile import interleave_classes
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, CausalLM
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.limits import check_one_of
from metarun.tasks.batch import TaskBatch

CONTENT_FREE = "N/A"  # Zhao et al. 2021


class Prompt(Stepless):
    """In-context learning of a causal language model (Brown et al. 2020, https://arxiv.org/abs/2005.14165).

    The prompt is an instruction and the support set, each text with its label; a query is appended, and its logits are
    the log-likelihoods of the labels as the text that follows. There is no training. Labels are neutral, A, B, … or
    1, 2, …: like every other method, the model is not told the names of the classes.

    With `calibrate`, the log-likelihoods after a text without content are subtracted (contextual calibration, Zhao et
    al. 2021, https://arxiv.org/abs/2102.09690, equation 2), since a model prefers some labels whatever the text is.
    Classes take turns in the prompt, because the last label is preferred too. No query sees another.

    Args:
        backbone: the language model.
        template: what stands before a label; it has {text} once.
        labels: "letters" (at most 26 classes) or "numbers".
        instruction: at the start of the prompt.
        calibrate: see above.

    Raises:
        UserError: the backbone is no language model, or an argument is out of range.
    """

    learns: ClassVar[bool] = False
    how = "loop"

    def __init__(
        self,
        backbone: Backbone,
        template: str = "Text: {text}\nLabel:",
        labels: Literal["letters", "numbers"] = "letters",
        instruction: str = "",
        calibrate: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, CausalLM):
            raise UserError(
                f"algo=prompt needs a language model but the backbone is {type(backbone).__name__}",
                "set `backbone=causal_lm backbone.folder=PATH`.",
            )
        if template.count("{text}") != 1:
            raise UserError(f"algo.template={template!r} must contain {{text}} once", "write it where the text goes.")
        check_one_of("algo.labels", labels, ("letters", "numbers"))
        self.backbone = backbone
        self.before, self.after = template.split("{text}")
        self.labels, self.instruction, self.calibrate_labels = labels, instruction, calibrate

    def meta_loss(self, tasks: TaskBatch) -> Tensor:  # noqa: ARG002, there is none
        """Refuse: there is nothing to train."""
        raise UserError("algo=prompt has nothing to train", "use another method, such as algo=protonet.")

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`."""
        model = self.backbone
        answers = [model.tokens(f" {label}\n") for label in self._labels(way)]
        texts, labels = model.texts(support_x), support_y.tolist()
        shared = [*model.begin, *model.tokens(self.instruction)]
        for i in interleave_classes(support_y, way).tolist():
            shared += self._question(texts[i]) + answers[labels[i]]
        questions = [self._question(text) for text in model.texts(query_x)]
        if not self.calibrate_labels:
            return model.log_likelihoods(shared, questions, answers)
        found = model.log_likelihoods(shared, [*questions, self._question(CONTENT_FREE)], answers)
        return found[:-1] - found[-1]

    def _question(self, text: str) -> list[int]:
        return self.backbone.tokens(f"{self.before}{text}{self.after}")

    def _labels(self, way: int) -> list[str]:
        if self.labels == "numbers":
            return [str(number) for number in range(1, way + 1)]
        if way > len(ascii_uppercase):
            raise UserError(
                f"algo.labels=letters names at most {len(ascii_uppercase)} classes but tasks have {way}",
                "set `algo.labels=numbers`.",
            )
        return list(ascii_uppercase[:way])
