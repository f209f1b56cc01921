"""Pre-trained encoders: from a raw text, picture or recording to a vector."""

from metarun.backbones.encoders.bert import Bert
from metarun.backbones.encoders.encoder import Encoder, as_inputs, check_readable, encode
from metarun.backbones.encoders.wordllama import WordLlama

__all__ = ["Bert", "Encoder", "WordLlama", "as_inputs", "check_readable", "encode"]
