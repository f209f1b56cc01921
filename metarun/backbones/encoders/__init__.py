"""Pre-trained encoders: from a raw text, picture or recording to a vector."""

from metarun.backbones.encoders.bert import Bert
from metarun.backbones.encoders.efficientnet import EfficientNetLite0
from metarun.backbones.encoders.encoder import Encoder, as_inputs, check_readable, encode, may_know_classes
from metarun.backbones.encoders.hugging_face import HuggingFaceTexts
from metarun.backbones.encoders.local_pictures import LocalPictures
from metarun.backbones.encoders.resemblyzer import Resemblyzer
from metarun.backbones.encoders.wordllama import WordLlama

__all__ = [
    "Bert",
    "EfficientNetLite0",
    "Encoder",
    "HuggingFaceTexts",
    "LocalPictures",
    "Resemblyzer",
    "WordLlama",
    "as_inputs",
    "check_readable",
    "encode",
    "may_know_classes",
]
