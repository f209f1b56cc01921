"""The prompt of algo=prompt, with a language model that only notes what it is asked."""

import pytest
import torch
from torch import nn

from metarun.algorithms import Prompt
from metarun.backbones import CausalLM
from metarun.errors import UserError
from metarun.tasks.batch import Support
from tests.support.synthetic import make_conv4

SUPPORT = {"texts": ["wake me", "book it", "wake up", "book now"]}
QUERIES = {"texts": ["alarm?", "a table"]}


class Notes(CausalLM):
    """Tokens are characters; the log-likelihood of an answer is minus its place, and 10 less without content."""

    begin = (2,)

    def __init__(self):
        nn.Module.__init__(self)
        self.asked = None

    def texts(self, x):
        return x["texts"]

    def tokens(self, text):
        return [ord(letter) for letter in text]

    def log_likelihoods(self, shared, questions, answers):
        as_text = [[bytes(each).decode() for each in part] for part in (questions, answers)]
        self.asked = bytes(shared).decode(), *as_text
        rows = [[-float(k) - 10 * ("N/A" in question) for k in range(len(answers))] for question in as_text[0]]
        return torch.tensor(rows)


def ask(way=2, **keys):
    model = Notes()
    (adapted,) = Prompt(model, **keys).adapt(Support(SUPPORT, torch.tensor([0, 0, 1, 1]) if way > 1 else None, way), 0)
    return model, adapted.predict(QUERIES)


def test_the_prompt_holds_the_support_set_with_classes_in_turns():
    model, logits = ask(instruction="Sort.\n", calibrate=False)
    shared, questions, answers = model.asked
    assert shared == (
        "\x02Sort.\nText: wake me\nLabel: A\nText: wake up\nLabel: B\n"
        "Text: book it\nLabel: A\nText: book now\nLabel: B\n"
    )
    assert questions == ["Text: alarm?\nLabel:", "Text: a table\nLabel:"]
    assert answers == [" A\n", " B\n"]
    assert logits.tolist() == [[0, -1], [0, -1]]


def test_calibration_subtracts_what_a_text_without_content_has():
    model, logits = ask(template="{text} is", labels="numbers")
    assert model.asked[1:] == (["alarm? is", "a table is", "N/A is"], [" 1\n", " 2\n"])
    assert logits.tolist() == [[10, 10], [10, 10]]


def test_what_is_no_prompt_is_refused():
    with pytest.raises(UserError, match=r"needs a language model but the backbone is Conv4; set `backbone=causal_lm"):
        Prompt(make_conv4())
    with pytest.raises(UserError, match=r"algo.template='Label:' must contain \{text\} once"):
        Prompt(Notes(), template="Label:")
    with pytest.raises(UserError, match=r"algo.labels='words' is not one of letters, numbers"):
        Prompt(Notes(), labels="words")
    (adapted,) = Prompt(Notes()).adapt(Support(SUPPORT, torch.tensor([0, 1, 2, 3]), 27), 0)
    with pytest.raises(UserError, match=r"names at most 26 classes but tasks have 27; set `algo.labels=numbers`"):
        adapted.predict(QUERIES)
