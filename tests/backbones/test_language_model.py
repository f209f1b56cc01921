"""A language model from a local folder, compared with a plain pass of transformers; made here, with random weights."""

import numpy as np
import pytest
import torch

from metarun.backbones import CausalLM
from metarun.data.inputs import InputSpec
from metarun.data.texts.text_features import BYTES, Tokens
from metarun.errors import UserError
from tests.support.tiny_language_model import write_tiny_language_model

pytestmark = [pytest.mark.encoders, pytest.mark.filterwarnings("default")]  # transformers deprecates much
LENGTH = 12
INPUTS = {"ids": InputSpec((LENGTH,), "int32", "ids", BYTES), "mask": InputSpec((LENGTH,), "bool", "mask")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_tiny_language_model(folder, context=40)
    return str(folder)


@pytest.fixture(scope="module")
def model(folder):
    return CausalLM(INPUTS, folder).double().eval()


def fields(*texts):
    values, _ = Tokens("bytes", BYTES, LENGTH).fields(texts)
    return {name: torch.from_numpy(np.ascontiguousarray(values[name])) for name in ("ids", "mask")}


def test_texts_are_read_from_their_bytes(model):
    assert model.texts(fields("wake me", "größer", "a text that is cut")) == ["wake me", "größer", "a text that "]


def test_log_likelihoods_equal_those_of_a_pass_without_a_cache(model):
    shared, questions, answers = [256, 5, 6, 7], [[1, 2], [3, 4, 5, 6]], [[9], [10, 11, 12], [13, 14]]
    with torch.no_grad():
        found = model.log_likelihoods(shared, questions, answers)
        for q, question in enumerate(questions):
            for a, answer in enumerate(answers):
                ids = torch.tensor([[*shared, *question, *answer]])
                likelihood = model.model(input_ids=ids).logits[0, -len(answer) - 1 : -1].log_softmax(-1)
                expected = likelihood.gather(1, torch.tensor(answer)[:, None]).sum()
                torch.testing.assert_close(found[q, a], expected, rtol=1e-10, atol=0)


def test_features_do_not_depend_on_the_texts_beside_it(model):
    together, alone = model(fields("wake me", "a longer one")), model(fields("wake me"))
    torch.testing.assert_close(together[:1], alone, rtol=1e-10, atol=1e-12)
    assert together.shape == (2, model.features)


def test_what_cannot_be_read_is_refused(model, folder, tmp_path):
    with pytest.raises(UserError, match=r"a prompt of 44 tokens is longer than the 40 that this language model reads"):
        model.log_likelihoods([1] * 40, [[1, 2]], [[3, 4]])
    with pytest.raises(UserError, match=r"reads texts as bytes but these examples are ids of words; set"):
        CausalLM({"ids": InputSpec((4,), "int32", "ids", 8192)}, folder)
    with pytest.raises(UserError, match=r"backbone.folder=nowhere is not a folder"):
        CausalLM(INPUTS, "nowhere")
    with pytest.raises(UserError, match=r"is not a causal language model \(.*it needs config.json"):
        CausalLM(INPUTS, str(tmp_path))
