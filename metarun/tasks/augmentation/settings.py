"""What `train.augment` can be: the name of a published recipe, or changes with their strengths."""

from collections.abc import Callable, Mapping
from typing import Any

from metarun.config.key_origins import set_by
from metarun.data.inputs import InputSpec
from metarun.errors import UserError, did_you_mean
from metarun.tasks.augmentation.numbers import Dropout, Roll
from metarun.tasks.augmentation.photographs import Affine, Crop, Flip, Jitter, ResizedCrop
from metarun.tasks.augmentation.spectrograms import Masks, TimeShift
from metarun.tasks.augmentation.stream import Augmentation

# photo: RFS (Tian et al. 2020) and MetaOptNet (Lee et al. 2019), in their code; the padding is 8 pixels at 84x84 and 4
# at 32x32. photo_resized: Chen et al. 2019. resized: SimpleShot (Wang et al. 2019). spec: policy SM of SpecAugment
# (Park et al. 2019), masks of up to 15 of 80 bands and up to a fifth of the frames. umtra: moved characters
# that lose pixels, as by UMTRA (Khodadadeh et al. 2019). characters: the same, and what a hand varies. shift:
# chosen on meta-train speakers of fsdd. outline: of closed curves, chosen on meta-train and meta-val species of plants.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "photo": {"crop": 8 / 84, "jitter": 0.4, "flip": 0.5},
    "photo_resized": {"resized_crop": [0.08, 1.0], "jitter": 0.4, "flip": 0.5},
    "resized": {"resized_crop": [0.08, 1.0], "flip": 0.5},
    "spec": {"frequency_masks": [2, 15 / 80], "time_masks": [2, 0.2]},
    "shift": {"time_shift": 0.16},
    "umtra": {"crop": 6 / 28, "dropout": 0.1},
    "characters": {"affine": [20, 0.3], "crop": 3 / 28, "dropout": 0.1},
    "outline": {"flip": 0.5, "roll": 3},
    "dropout": {"dropout": 0.3},
}
PICTURES, SPECTROGRAMS, VECTORS = "pictures", "spectrograms", "vectors"
_MAX_PADDING = 2048  # pixels
_MAX_MASKS = 100
_MAX_ROLL = 1 << 20
# The kinds of examples that a change is for, if not of pictures alone.
_KINDS = {
    "flip": (PICTURES, VECTORS),
    "time_shift": (SPECTROGRAMS,),
    "frequency_masks": (SPECTROGRAMS,),
    "time_masks": (SPECTROGRAMS,),
    "roll": (VECTORS,),
    "dropout": (PICTURES, SPECTROGRAMS, VECTORS),
}
_CHANGED = {
    (PICTURES,): "pictures",
    (SPECTROGRAMS,): "spectrograms",
    (VECTORS,): "rows of numbers",
    (PICTURES, VECTORS): "pictures",
    (PICTURES, SPECTROGRAMS, VECTORS): "numbers",
}


def augmentations(
    value: object, inputs: Mapping[str, InputSpec], name: str, setting: str = "train.augment"
) -> dict[str, Augmentation]:
    """Return the changes that a key such as `train.augment` asks for, in the order in which they are made.

    Args:
        value: a key of `PRESETS`; a mapping of keys of `CHANGES` to their strengths; None: no changes.
        inputs: the fields of an example.
        name: of the data set, for messages.
        setting: the key, for messages.

    Raises:
        UserError: there is no such change, its strength is out of range, or it does not fit such examples.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        if value not in PRESETS:
            raise UserError(
                f"{_set_to(setting, value)} is not one of {', '.join(PRESETS)}.{did_you_mean(value, PRESETS)}"
            )
        asked: Mapping[Any, Any] = PRESETS[value]
    elif isinstance(value, Mapping):
        asked = value
    else:
        raise UserError(
            f"{_set_to(setting, value)} must be null, one of {', '.join(PRESETS)}, or a mapping of changes."
        )
    if unknown := [key for key in asked if key not in CHANGES]:
        hint = did_you_mean(str(unknown[0]), CHANGES)
        raise UserError(f"{setting}.{unknown[0]} is not one of {', '.join(CHANGES)}.{hint}")
    _check_kind(setting, value, asked, inputs, name)
    return {key: make(f"{setting}.{key}", asked[key]) for key, make in CHANGES.items() if key in asked}


def views(value: object, inputs: Mapping[str, InputSpec], name: str) -> tuple[str | None, dict[str, Augmentation]]:
    """Return the changes that make different members of a class of one example, which a task cannot do without.

    Args:
        value: of `train.augment`, as of `augmentations`; None: a preset that suits such examples.
        inputs: the fields of an example.
        name: of the data set, for messages.

    Returns:
        The name of the preset that was chosen, None if the config chose; the changes.

    Raises:
        UserError: as of `augmentations`, or no preset suits such examples.
    """
    if value is not None:
        return None, augmentations(value, inputs, name)
    preset = suitable(inputs)
    if preset is None:
        fields = ", ".join(f"{field} ({spec.kind})" for field, spec in inputs.items())
        raise UserError(
            f"task.labels=none{set_by('task.labels')} tells examples apart from their changed copies, but there is no "
            f"change for examples of data={name}, which have {fields}",
            "use `task.labels=clusters`, or inputs of one array of numbers, such as `data.features=tfidf` for texts.",
        )
    return preset, augmentations(preset, inputs, name)


def suitable(inputs: Mapping[str, InputSpec], of_photos: str = "photo_resized") -> str | None:
    """Return the preset that suits such examples; None: there is none."""
    kind, spec = _kind(inputs), next(iter(inputs.values()))
    if kind is None:
        return None
    of_pictures = "characters" if spec.shape[0] == 1 else of_photos
    return {PICTURES: of_pictures, SPECTROGRAMS: "spec", VECTORS: "dropout"}[kind]


def _set_to(setting: str, value: object) -> str:
    return f"{setting}={value}{set_by(setting)}"


def _check_kind(
    setting: str, value: object, asked: Mapping[str, Any], inputs: Mapping[str, InputSpec], name: str
) -> None:
    """Raise a UserError unless all changes are for such examples."""
    kind = _kind(inputs)
    meant = [_KINDS.get(key, (PICTURES,)) for key in asked]
    wanted = {_CHANGED[kinds] for kinds in meant if kind not in kinds}
    if kind is None or wanted:
        remedy = {PICTURES: "photo, or null", SPECTROGRAMS: "spec, or null", VECTORS: "dropout, or null", None: "null"}[
            kind
        ]
        are = "neither pictures nor spectrograms" if kind in (None, VECTORS) else kind
        raise UserError(
            f"{_set_to(setting, value)} changes {' and '.join(sorted(wanted))} but examples of data={name} are {are}",
            f"set `{setting}` to {remedy}.",
        )


def _kind(inputs: Mapping[str, InputSpec]) -> str | None:
    """Return of what kind examples are; None: of one that no change is for."""
    spec = next(iter(inputs.values()))
    if len(inputs) > 1:
        return None
    if len(spec.shape) == 3 and spec.kind == "bytes" and spec.shape[0] in (1, 3):
        return PICTURES
    if len(spec.shape) == 3 and spec.kind == "floats" and spec.shape[0] == 1:
        return SPECTROGRAMS
    return VECTORS if len(spec.shape) == 1 and spec.kind == "floats" else None


def _number(
    make: Callable[[float], Augmentation], fits: Callable[[float], bool], what: str
) -> Callable[[str, object], Augmentation]:
    """Return what makes a change from the value of its key, one number; others than those that fit are refused."""

    def checked(key: str, value: object) -> Augmentation:
        if isinstance(value, float | int) and not isinstance(value, bool) and fits(value):
            return make(value)
        raise UserError(f"{key}={value} must be {what}.")

    return checked


def _pair(
    make: Callable[[Any, float], Augmentation], fits: Callable[[float, float], bool], what: str
) -> Callable[[str, object], Augmentation]:
    """Return the same of a change with two numbers."""

    def checked(key: str, value: object) -> Augmentation:
        match value:
            case [float() | int() as one, float() | int() as other] if fits(one, other):
                return make(one, float(other))
        raise UserError(f"{key}={value} must be {what}.")

    return checked


def _masks(dim: int) -> Callable[[str, object], Augmentation]:
    return _pair(
        lambda count, share: Masks(dim, count, share),
        lambda count, share: isinstance(count, int) and 1 <= count <= _MAX_MASKS and 0 < share <= 1,
        "a number of masks and the largest share that one hides, such as [2,0.2]",
    )


# In the order in which they are made, which for photographs is that of RFS and MetaOptNet.
CHANGES: Mapping[str, Callable[[str, object], Augmentation]] = {
    "affine": _pair(
        lambda degrees, stretch: Affine(float(degrees), stretch),
        lambda degrees, stretch: 0 <= degrees <= 180 and 0 <= stretch < 1,
        "the largest angle in degrees and the stretch below 1, such as [20,0.3]",
    ),
    "crop": _number(
        Crop, lambda pad: 0 < pad < _MAX_PADDING, "a number of pixels, such as 8, or a share of the side, such as 0.1"
    ),
    "resized_crop": _pair(
        lambda least, most: ResizedCrop(float(least), most),
        lambda least, most: 0 < least <= most <= 1,
        "the smallest and the largest part of the area, such as [0.08,1]",
    ),
    "jitter": _number(lambda by: Jitter(float(by)), lambda by: 0 <= by <= 1, "a strength from 0 to 1, such as 0.4"),
    "flip": _number(lambda p: Flip(float(p)), lambda p: 0 <= p <= 1, "a probability from 0 to 1, such as 0.5"),
    "time_shift": _number(
        lambda share: TimeShift(float(share)),
        lambda share: 0 <= share <= 1,
        "a share of the frames from 0 to 1, such as 0.1",
    ),
    "frequency_masks": _masks(2),
    "time_masks": _masks(3),
    "roll": _number(
        lambda largest: Roll(int(largest)),
        lambda largest: 0 <= largest <= _MAX_ROLL and largest == int(largest),
        "a whole number, the furthest that a row moves, such as 3",
    ),
    "dropout": _number(
        lambda p: Dropout(float(p)), lambda p: 0 <= p < 1, "a probability from 0 to below 1, such as 0.1"
    ),
}
