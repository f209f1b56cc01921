import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance

from metarun.data.files.cache import apply_storage
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.tasks.augmentation import AugmentedStream, augmentations
from metarun.tasks.augmentation.numbers import Dropout, Roll
from metarun.tasks.augmentation.photographs import (
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    Affine,
    Crop,
    Flip,
    Jitter,
    ResizedCrop,
    _blend,
    _enlarge,
)
from metarun.tasks.augmentation.settings import CHANGES, PRESETS
from metarun.tasks.augmentation.spectrograms import Masks, TimeShift
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.rng import split_key, uniform
from metarun.tasks.stream import StreamSpec
from tests.support.synthetic import make_dataset

CPU = torch.device("cpu")
PICTURES = {"x": InputSpec((3, 8, 8), "uint8", "bytes")}
SPECTROGRAMS = {"x": InputSpec((1, 32, 64), "float32", "floats")}
VECTORS = {"x": InputSpec((64,), "float32", "floats")}
TEXTS = {"ids": InputSpec((32,), "int32", "ids"), "mask": InputSpec((32,), "bool", "mask")}


def keys(count: int) -> torch.Tensor:
    return split_key(7, torch.arange(count))


def pictures(count: int, channels=3, height=9, width=7) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(count, channels, height, width)


def test_a_crop_is_a_part_of_the_padded_picture_and_every_part_occurs():
    x = pictures(1)
    changed = Crop(2)(x.expand(400, -1, -1, -1), keys(400))
    padded = F.pad(x[0], [2] * 4)
    parts = {(i, j): padded[:, i : i + 9, j : j + 7] for i in range(5) for j in range(5)}
    found = [next(place for place, part in parts.items() if torch.equal(part, each)) for each in changed]
    assert set(found) == set(parts)


def test_an_affine_change_of_no_strength_keeps_pictures_and_one_of_90_degrees_turns_them():
    x = pictures(3, height=8, width=8)
    torch.testing.assert_close(Affine(0, 0)(x, keys(3)), x)
    angle = 2 * uniform(keys(3), 4)[:, :1] - 1  # of the largest
    changed = torch.cat([Affine(90 / float(angle[i]), 0)(x[i : i + 1], keys(3)[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(changed, x.rot90(1, (2, 3)), rtol=1e-4, atol=1e-5)


def test_affine_changes_agree_with_pillow():
    x = pictures(1, 1, 16, 16)
    angle, shear, wide, tall = (2 * uniform(keys(1), 4)[0] - 1).tolist()
    angle, shear = math.radians(30) * angle, 0.2 * shear
    c, s, a, b = math.cos(angle), math.sin(angle), 1 / (1 + 0.2 * wide), 1 / (1 + 0.2 * tall)
    (p, q), (r, t) = (a * c, a * (shear * c - s)), (b * s, b * (shear * s + c))
    middle = 8  # in Pillow's coordinates, whose origin is the corner of a pixel
    matrix = (p, q, middle - (p + q) * middle, r, t, middle - (r + t) * middle)
    theirs = Image.fromarray(x[0, 0].numpy()).transform(
        (16, 16), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    ours = Affine(30, 0.2)(x, keys(1))[0, 0]
    inside = slice(5, 11)  # at the edges Pillow copies, torch fades
    torch.testing.assert_close(ours[inside, inside], torch.tensor(np.array(theirs))[inside, inside], atol=1e-4, rtol=0)


def test_dropout_sets_that_share_of_numbers_to_0_and_all_channels_of_a_pixel():
    x = pictures(50) + 0.1
    dropped = Dropout(0.3)(x, keys(50)) == 0
    assert float(dropped.double().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(dropped[:, 0], dropped[:, 2])
    vectors = Dropout(0.3)(torch.ones(50, 40), keys(50))
    assert float(vectors.mean()) == pytest.approx(0.7, abs=0.05)


def test_padding_may_be_larger_than_the_picture():
    changed = Crop(2000)(torch.ones(50, 1, 4, 4), keys(50))
    assert (changed == 0).all()


@pytest.mark.parametrize(("side", "padding"), [(84, 8), (32, 4), (28, 3)])
def test_a_share_of_padding_is_that_of_the_papers(side, padding):
    black = Crop(PRESETS["photo"]["crop"])(torch.ones(300, 1, side, side), keys(300)) == 0
    rows = black.all(-1)[:, 0]
    assert int(rows.sum(1).max()) == padding


@pytest.mark.parametrize("dim", [2, 3])
def test_a_part_is_enlarged_as_torch_does(dim):
    x = pictures(6, height=10, width=10)
    start, length = torch.tensor([0, 0, 3, 9, 4, 2]), torch.tensor([10, 1, 4, 1, 6, 7])
    changed = _enlarge(x, start, length, dim)
    for picture, first, size, each in zip(x, start.tolist(), length.tolist(), changed, strict=True):
        part = picture.narrow(dim - 1, first, size)
        expected = F.interpolate(part[None], size=(10, 10), mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(each, expected)


def test_a_resized_crop_has_a_size_in_range_and_stays_inside():
    crop = ResizedCrop(0.2, 0.5)
    tall, wide = crop._sizes(84, 84, keys(2000))
    area, ratio = tall * wide / 84**2, wide / tall
    assert 0.19 < float(area.min()) < 0.21
    assert 0.49 < float(area.max()) < 0.51
    assert abs(float(area.mean()) - 0.35) < 0.01
    assert 0.72 < float(ratio.min()) < 0.78
    assert 1.28 < float(ratio.max()) < 1.38
    ramp = torch.linspace(0, 1, 84).expand(50, 1, 84, 84)
    changed = crop(ramp, keys(50))
    assert (changed >= 0).all()
    assert (changed <= 1).all()
    assert (changed[:, 0, 0].diff(dim=1) >= 0).all(), "columns out of order"


def test_a_crop_of_the_whole_area_that_cannot_fit_is_the_whole_picture():
    x = pictures(4, height=4, width=40)  # no part of all of it is less than four thirds as wide as high
    torch.testing.assert_close(ResizedCrop(1.0, 1.0)(x, keys(4)), x)


def test_half_of_the_pictures_are_flipped():
    x = pictures(1).expand(400, -1, -1, -1)
    changed = Flip(0.5)(x, keys(400))
    flipped = [torch.equal(each, x[0].flip(-1)) for each in changed]
    assert 150 < sum(flipped) < 250
    assert all(was or torch.equal(each, x[0]) for was, each in zip(flipped, changed, strict=True))
    assert torch.equal(Flip(0)(x, keys(400)), x)


@pytest.mark.parametrize(
    ("change", "enhance"),
    [
        (BRIGHTNESS, ImageEnhance.Brightness),
        (CONTRAST, ImageEnhance.Contrast),
        (SATURATION, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_jitter_changes_a_picture_as_pillow_does(change, enhance, factor):
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    expected = np.asarray(enhance(Image.fromarray(picture)).enhance(factor))
    x = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    changed = _blend(x, torch.tensor([change]), torch.tensor([factor]))[0].permute(1, 2, 0) * 255
    assert float((changed - torch.from_numpy(expected.copy())).abs().max()) < 1.6  # Pillow rounds twice


def test_jitter_of_a_grey_picture_leaves_its_saturation():
    x = pictures(3, channels=1)
    for factor in (0.0, 0.5, 1.7):
        torch.testing.assert_close(_blend(x, torch.full((3,), SATURATION), torch.full((3,), factor)), x)
    changed = Jitter(0.4)(x, keys(3))
    assert not torch.equal(changed, x)
    torch.testing.assert_close(Jitter(0)(x, keys(3)), x)


def test_jitter_takes_its_changes_in_every_order():
    x = torch.tensor([0.2, 0.5, 0.9])[None, :, None, None].expand(200, -1, 2, 2)
    assert len({tuple(each.flatten().tolist()) for each in Jitter(0.4)(x, keys(200))}) == 200
    assert (Jitter(5.0)(x, keys(200)) <= 1).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_a_mask_hides_one_stretch_of_any_width_up_to_the_largest(dim):
    x = torch.ones(3000, 1, 10, 20)
    changed = Masks(dim, 1, 0.4)(x, keys(3000))
    hidden = (changed == 0).transpose(2, dim)[:, 0, :, 0]
    assert torch.equal(changed == 0, hidden[:, None].expand(-1, x.shape[5 - dim], -1).mT[:, None].transpose(2, dim))
    widths = hidden.sum(1)
    largest = int(0.4 * x.shape[dim])
    counts = torch.bincount(widths, minlength=largest + 1)
    assert len(counts) == largest + 1
    assert (counts > 0.7 * 3000 / (largest + 1)).all()
    assert (hidden.int().diff(dim=1).abs().sum(1) <= 2).all(), "two stretches"
    assert hidden.any(0).all(), "a place that no mask reaches"


def test_two_masks_hide_two_stretches():
    changed = Masks(3, 2, 0.2)(torch.ones(200, 1, 4, 50), keys(200))
    edges = (changed[:, 0, 0] == 0).int().diff(dim=1).abs().sum(1)
    assert int(edges.max()) == 4


def test_a_row_begins_elsewhere_by_up_to_the_largest_move_and_loses_no_number():
    x = torch.arange(10.0).expand(300, -1)
    expected = {tuple(x[0].roll(move).tolist()) for move in range(-3, 4)}
    assert {tuple(each.tolist()) for each in Roll(3)(x, keys(300))} == expected
    assert torch.equal(Roll(0)(x, keys(300)), x)


def test_half_of_the_rows_are_reversed():
    x = torch.arange(4.0).expand(400, -1)
    changed = Flip(0.5)(x, keys(400))
    reverse = (changed == x.flip(-1)).all(1)
    assert 150 < int(reverse.sum()) < 250
    assert torch.equal(changed[~reverse], x[~reverse])
    assert list(augmentations("outline", VECTORS, "plants")) == ["flip", "roll"]


def test_a_map_moves_in_time_by_any_number_of_frames_up_to_the_largest():
    x = torch.arange(20.0).expand(300, 1, 3, 20)
    changed = TimeShift(0.1)(x, keys(300))
    expected = {move: tuple(min(max(i - move, 0), 19) for i in range(20)) for move in range(-2, 3)}
    assert {tuple(each[0, 0].int().tolist()) for each in changed} == set(expected.values())
    assert (changed == changed[:, :, :1]).all(), "bands move together"
    assert torch.equal(TimeShift(0)(x, keys(300)), x)


def make(changes, seed=3, data=None, dtype=torch.float32):
    data = data or make_dataset(shape=(3, 8, 8))
    stream = ClassTaskStream(data, StreamSpec("train", TaskShape(3, 2, 4), 0, CPU, dtype))
    return stream, AugmentedStream(stream, augmentations(changes, PICTURES, "synthetic"), seed)


@pytest.mark.parametrize("preset", ["photo", "photo_resized", "resized"])
def test_a_task_is_changed_the_same_way_in_any_chunking(preset):
    stream, augmented = make(preset)
    whole, parts = augmented.draw(5, 4), [augmented.draw(5, 1), augmented.draw(6, 3)]
    for name in ("support_x", "query_x", "query_y", "classes"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts])), name
    plain = stream.draw(5, 4)
    assert torch.equal(whole.classes, plain.classes)
    assert not torch.equal(whole.support_x, plain.support_x)
    assert float(whole.query_x.min()) >= 0
    assert float(whole.query_x.max()) <= 1
    assert augmented.hash(9) == stream.hash(9)


def test_every_example_has_a_draw_of_its_own():
    data = make_dataset(shape=(3, 8, 8))
    for examples in data.splits.values():
        examples.values[:] = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    tasks = make("photo", data=data)[1].draw(0, 2)
    every = torch.cat([tasks.support_x, tasks.query_x], 1).flatten(0, 1)
    assert len({each.numpy().tobytes() for each in every}) == len(every)
    others = make("photo", seed=4, data=data)[1].draw(0, 2)
    assert not torch.equal(others.query_x, tasks.query_x)


def test_a_change_is_the_same_beside_others():
    only, both = make({"flip": 0.5})[1].draw(0, 3), make({"flip": 0.5, "crop": 1})[1].draw(0, 3)
    cropped = make({"crop": 1})[1].draw(0, 3)
    plain = make(None)[0].draw(0, 3)
    flipped = (only.query_x != plain.query_x).flatten(2).any(2)
    expected = torch.where(flipped[..., None, None, None], cropped.query_x.flip(-1), cropped.query_x)
    assert torch.equal(both.query_x, expected)


def test_examples_on_disk_are_changed_the_same_way(root):
    data = make_dataset(shape=(3, 8, 8))
    in_memory = make("photo", data=data)[1].draw(2, 3)
    on_disk = make("photo", data=apply_storage(data, "disk"))[1].draw(2, 3)
    assert torch.equal(in_memory.support_x, on_disk.support_x)
    assert torch.equal(in_memory.query_x, on_disk.query_x)


def test_changes_are_made_in_the_order_of_the_papers():
    assert list(augmentations({"flip": 0.5, "crop": 4, "jitter": 0.4}, PICTURES, "x")) == ["crop", "jitter", "flip"]
    assert augmentations(None, TEXTS, "x") == {}
    assert list(augmentations("spec", SPECTROGRAMS, "fsdd")) == ["frequency_masks", "time_masks"]
    assert {key for preset in PRESETS.values() for key in preset} == set(CHANGES)


@pytest.mark.parametrize(
    ("value", "inputs", "said"),
    [
        ("foto", PICTURES, "augment=foto is not one of photo, photo_resized, resized, spec, .*. Did you mean 'photo'"),
        (["photo"], PICTURES, "must be null, one of photo, photo_resized, resized, spec, .*, or a mapping of changes"),
        ({"flips": 0.5}, PICTURES, "augment.flips is not one of affine, crop, .* Did you mean 'flip'"),
        ({"crop": 0}, PICTURES, "train.augment.crop=0 must be a number of pixels"),
        ({"crop": True}, PICTURES, "train.augment.crop=True must be a number of pixels"),
        ({"resized_crop": [0.5, 0.1]}, PICTURES, r"resized_crop=\[0.5, 0.1\] must be the smallest and the largest"),
        ({"resized_crop": 0.5}, PICTURES, "resized_crop=0.5 must be the smallest and the largest"),
        ({"jitter": float("nan")}, PICTURES, "jitter=nan must be a strength from 0 to 1"),
        ({"flip": 1.5}, PICTURES, "flip=1.5 must be a probability"),
        ({"time_masks": [2, 0]}, SPECTROGRAMS, r"time_masks=\[2, 0\] must be a number of masks"),
        ({"time_masks": [10**9, 0.2]}, SPECTROGRAMS, r"time_masks=\[1000000000, 0.2\] must be a number of masks"),
        ({"roll": 1.5}, VECTORS, "roll=1.5 must be a whole number, the furthest that a row moves"),
        ({"roll": 3}, PICTURES, "changes rows of numbers but examples of data=mine are pictures"),
        ({"flip": 0.5}, SPECTROGRAMS, "changes pictures but examples of data=mine are spectrograms"),
        ({"time_shift": 2}, SPECTROGRAMS, "time_shift=2 must be a share of the frames from 0 to 1"),
        ("shift", VECTORS, "shift changes spectrograms but examples of data=mine are neither .* to dropout, or null"),
        ({"frequency_masks": 2}, SPECTROGRAMS, "frequency_masks=2 must be a number of masks"),
        (
            "photo",
            SPECTROGRAMS,
            "photo changes pictures but examples .*=mine are spectrograms; .* to spec, or null",
        ),
        ("spec", PICTURES, "spec changes spectrograms but examples of data=mine are pictures; .* to photo, or null"),
        ("photo", VECTORS, "examples of data=mine are neither pictures nor spectrograms; .* to dropout, or null"),
        ({"affine": [200, 0]}, PICTURES, r"affine=\[200, 0\] must be the largest angle"),
        ({"dropout": 1}, PICTURES, "dropout=1 must be a probability from 0 to below 1"),
        ("dropout", TEXTS, "dropout changes numbers but examples of data=mine are neither"),
        ("spec", TEXTS, "examples of data=mine are neither pictures nor spectrograms; set .* to null"),
    ],
)
def test_what_cannot_be_is_a_sentence(value, inputs, said):
    with pytest.raises(UserError, match=said):
        augmentations(value, inputs, "mine")
