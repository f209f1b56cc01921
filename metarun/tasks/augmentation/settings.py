"""What `train.augment` can be: the name of a published recipe, or changes with their strengths."""

from collections.abc import Callable, Mapping
from typing import Any

from metarun.config.key_origins import set_by
from metarun.data.inputs import InputSpec
from metarun.errors import UserError, did_you_mean
from metarun.tasks.augmentation.photographs import Crop, Flip, Jitter, ResizedCrop
from metarun.tasks.augmentation.spectrograms import Masks
from metarun.tasks.augmentation.stream import Augmentation

# photo: RFS (Tian et al. 2020) and MetaOptNet (Lee et al. 2019), in their code; the padding is 8 pixels at 84x84 and 4
# at 32x32. photo_resized: Chen et al. 2019. resized: SimpleShot (Wang et al. 2019). spec: policy SM of SpecAugment
# (Park et al. 2019), masks of up to 15 of 80 bands and up to a fifth of the frames.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "photo": {"crop": 8 / 84, "jitter": 0.4, "flip": 0.5},
    "photo_resized": {"resized_crop": [0.08, 1.0], "jitter": 0.4, "flip": 0.5},
    "resized": {"resized_crop": [0.08, 1.0], "flip": 0.5},
    "spec": {"frequency_masks": [2, 15 / 80], "time_masks": [2, 0.2]},
}
PICTURES, SPECTROGRAMS = "pictures", "spectrograms"
_MAX_PADDING = 2048  # pixels
_MAX_MASKS = 100


def augmentations(value: object, inputs: Mapping[str, InputSpec], name: str) -> dict[str, Augmentation]:
    """Return the changes that `train.augment` asks for, in the order in which they are made.

    Args:
        value: a key of `PRESETS`; a mapping of keys of `CHANGES` to their strengths; None: no changes.
        inputs: the fields of an example.
        name: of the data set, for messages.

    Raises:
        UserError: there is no such change, its strength is out of range, or it does not fit such examples.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        if value not in PRESETS:
            raise UserError(f"{_setting(value)} is not one of {', '.join(PRESETS)}.{did_you_mean(value, PRESETS)}")
        asked: Mapping[Any, Any] = PRESETS[value]
    elif isinstance(value, Mapping):
        asked = value
    else:
        raise UserError(f"{_setting(value)} must be null, one of {', '.join(PRESETS)}, or a mapping of changes.")
    if unknown := [key for key in asked if key not in CHANGES]:
        hint = did_you_mean(str(unknown[0]), CHANGES)
        raise UserError(f"train.augment.{unknown[0]} is not one of {', '.join(CHANGES)}.{hint}")
    _check_kind(value, asked, inputs, name)
    return {key: make(f"train.augment.{key}", asked[key]) for key, make in CHANGES.items() if key in asked}


def _setting(value: object) -> str:
    return f"train.augment={value}{set_by('train.augment')}"


def _check_kind(value: object, asked: Mapping[str, Any], inputs: Mapping[str, InputSpec], name: str) -> None:
    """Raise a UserError unless all changes are for such examples."""
    spec = next(iter(inputs.values()))
    of_pictures = len(spec.shape) == 3 and spec.kind == "bytes" and spec.shape[0] in (1, 3)
    of_sounds = len(spec.shape) == 3 and spec.kind == "floats" and spec.shape[0] == 1
    kind = PICTURES if len(inputs) == 1 and of_pictures else SPECTROGRAMS if len(inputs) == 1 and of_sounds else None
    wanted = {SPECTROGRAMS if key.endswith("_masks") else PICTURES for key in asked}
    if kind is None or wanted - {kind}:
        remedy = {PICTURES: "photo, or null", SPECTROGRAMS: "spec, or null", None: "null"}[kind]
        are = kind or "neither pictures nor spectrograms"
        raise UserError(
            f"{_setting(value)} changes {' and '.join(sorted(wanted))} but examples of data={name} are {are}",
            f"set `train.augment` to {remedy}.",
        )


def _crop(key: str, value: object) -> Crop:
    if not isinstance(value, float | int) or isinstance(value, bool) or not 0 < value < _MAX_PADDING:
        raise UserError(f"{key}={value} must be a number of pixels, such as 8, or a share of the side, such as 0.1.")
    return Crop(value)


def _resized_crop(key: str, value: object) -> ResizedCrop:
    match value:
        case [float() | int() as least, float() | int() as most] if 0 < least <= most <= 1:
            return ResizedCrop(float(least), float(most))
    raise UserError(f"{key}={value} must be the smallest and the largest part of the area, such as [0.08,1].")


def _jitter(key: str, value: object) -> Jitter:
    if not isinstance(value, float | int) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UserError(f"{key}={value} must be a strength from 0 to 1, such as 0.4.")
    return Jitter(float(value))


def _flip(key: str, value: object) -> Flip:
    if not isinstance(value, float | int) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UserError(f"{key}={value} must be a probability from 0 to 1, such as 0.5.")
    return Flip(float(value))


def _masks(dim: int) -> Callable[[str, object], Masks]:
    def make(key: str, value: object) -> Masks:
        match value:
            case [int() as count, float() | int() as share] if 1 <= count <= _MAX_MASKS and 0 < share <= 1:
                return Masks(dim, count, float(share))
        raise UserError(f"{key}={value} must be how many masks and the largest share that one hides, such as [2,0.2].")

    return make


# In the order in which they are made, which is that of RFS and MetaOptNet.
CHANGES: Mapping[str, Callable[[str, object], Augmentation]] = {
    "crop": _crop,
    "resized_crop": _resized_crop,
    "jitter": _jitter,
    "flip": _flip,
    "frequency_masks": _masks(2),
    "time_masks": _masks(3),
}
