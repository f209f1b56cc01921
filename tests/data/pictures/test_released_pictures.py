"""Small fakes of published sets of pictures, in the formats of their releases."""

import dataclasses
import gzip
import io
import json
import pickle
import pickletools
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarun.data import ImageFolder
from metarun.data.pictures.published_images import PUBLISHED
from metarun.data.pictures.released_pictures import tiered_folders
from metarun.errors import UserError
from tests.support.fake_images import make_picture, write_folder, write_zip

LISTS = json.loads(Path("metarun/data/pictures/cifar100_splits.json").read_text())
FINE = sorted(c for classes in LISTS["superclasses"].values() for c in classes)
CLASSES = [f"{number:03}.Bird_{number}" for number in range(1, 201)]


@pytest.fixture
def holding(monkeypatch):
    """Return a function that lets a published set be complete with other numbers of pictures."""

    def change(name, per_class):
        known = PUBLISHED[name]
        sizes = {split: (classes, per_class, per_class) for split, (classes, _, _) in known.sizes.items()}
        total = per_class * sum(classes for classes, _, _ in sizes.values())
        pictures = None if known.pictures is None else total
        monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(known, sizes=sizes, pictures=pictures))

    return change


class Python2:
    """Writes pickles of protocol 2 as Python 2 does: a text is a BINSTRING, an array what its `__reduce__` returned."""

    def __init__(self) -> None:
        self.out = io.BytesIO()

    def dump(self, value) -> bytes:
        self.out = io.BytesIO()
        self.out.write(b"\x80\x02")
        self.write(value)
        self.out.write(b".")
        return self.out.getvalue()

    def write(self, value) -> None:
        if isinstance(value, str | bytes):
            content = value.encode("latin1") if isinstance(value, str) else value
            self.out.write(b"T" + struct.pack("<i", len(content)) + content)
        elif isinstance(value, int):
            self.out.write(b"J" + struct.pack("<i", value))
        elif isinstance(value, list):
            self.out.write(b"](")
            for item in value:
                self.write(item)
            self.out.write(b"e")
        elif isinstance(value, dict):
            self.out.write(b"}(")
            for pair in value.items():
                for item in pair:
                    self.write(item)
            self.out.write(b"u")
        else:
            self.array(value)

    def array(self, value: np.ndarray) -> None:
        self.out.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85")
        self.write("b")
        self.out.write(b"tR(K\x01(")
        for length in value.shape:
            self.write(length)
        self.out.write(b"tcnumpy\ndtype\n(")
        self.write(value.dtype.str[1:])
        self.out.write(b"K\x00K\x01tR(K\x03")
        self.write(value.dtype.str[0])
        self.out.write(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
        self.write(value.tobytes())
        self.out.write(b"tb")


def cifar_python(per_class=3) -> dict[str, bytes]:
    """Return the files of `cifar-100-python`: the pixels of picture i of a class are the class's number, then i."""
    parts = {}
    for part, rows in (("train", per_class - 1), ("test", 1)):
        labels = [label for _ in range(rows) for label in range(100)]
        pixels = np.zeros((len(labels), 3072), np.uint8)
        pixels[:, :1024] = np.array(labels)[:, None]  # red
        pixels[:, 1024] = np.arange(len(labels)) // 100 + (per_class - 1) * (part == "test")  # green, at the left top
        parts[f"cifar-100-python/{part}"] = Python2().dump(
            {
                "filenames": ["x.png"] * len(labels),
                "batch_label": "training batch 1 of 1",
                "fine_labels": labels,
                "coarse_labels": [0] * len(labels),
                "data": pixels,
            }
        )
    parts["cifar-100-python/meta"] = Python2().dump({"fine_label_names": FINE, "coarse_label_names": ["fish"]})
    parts["cifar-100-python/file.txt~"] = b""
    return parts


def write_tar(path: Path, files: dict[str, bytes], kind="w:gz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, kind) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_the_fake_pickles_are_pickles():
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    content = Python2().dump({"a": [1, "text"], "b": array})
    pickletools.dis(content, io.StringIO())
    read = pickle.loads(content, encoding="latin1")  # numpy's own reading of it
    assert read["a"] == [1, "text"]
    assert np.array_equal(read["b"], array)


@pytest.mark.parametrize("name", ["cifar_fs", "fc100"])
def test_cifar_100_is_split_as_published(root, holding, name):
    holding(name, 3)
    write_tar(root / name / "cifar-100-python.tar.gz", cifar_python())
    data = ImageFolder(known=name, size=32).load()
    superclass = {c: group for group, classes in LISTS["superclasses"].items() for c in classes}
    for split, examples in data.splits.items():
        own = [c.rpartition("/")[2] for c in examples.class_names]
        listed = LISTS[name][split]
        assert sorted(own) == sorted(c for c in FINE if c in listed or superclass[c] in listed)
        assert list(examples.class_names) == sorted(f"{superclass[c]}/{c}" for c in own)
        assert examples.values.shape == (3 * len(own), 3, 32, 32)
        for c, name_of in zip(own, examples.class_names, strict=True):
            pictures = examples.of_class(name_of)
            assert (pictures[:, 0] == FINE.index(c)).all(), "rows of another class"
            assert sorted(pictures[:, 1, 0, 0].tolist()) == [0, 1, 2]
            assert not pictures[:, 2].any()
    assert data.groupings["folder"]("fish/ray") == "fish"
    assert data.skipped.warnings == ()


def test_bertinettos_folders_hold_the_same_classes(root, holding):
    holding("cifar_fs", 1)
    files = {f"cifar100/data/{c}/{c}_s_000001.png": make_picture(i, 32, 32) for i, c in enumerate(FINE)}
    files["cifar100/splits/bertinetto/train.txt"] = b"apple\n"
    write_zip(root / "cifar100.zip", files)
    data = ImageFolder(known="cifar_fs", size=32).load()
    assert [len(data.splits[split].class_names) for split in ("train", "val", "test")] == [64, 16, 20]
    row = data.splits["train"].of_class("fish/ray")[0]
    expected = np.asarray(Image.open(io.BytesIO(files["cifar100/data/ray/ray_s_000001.png"])))
    assert np.array_equal(row, expected.transpose(2, 0, 1))
    assert data.skipped.warnings == ()


def cub_files(count=2) -> dict[str, bytes]:
    """Return the files of CUB_200_2011: a picture is black but for a white box of its own."""
    files, paths, boxes = {"attributes.txt": b"1 has_bill_shape::curved\n"}, [], []
    for i, c in enumerate(CLASSES):
        for number in range(count):
            picture = Image.new("RGB", (20, 16))
            left, top = 1 + i % 5, 2 + number
            picture.paste("white", (left, top, left + 8, top + 6))
            stream = io.BytesIO()
            picture.save(stream, "PNG")  # its content decides, and JPEG would blur the edge
            files[f"CUB_200_2011/images/{c}/{c[4:]}_{number}.jpg"] = stream.getvalue()
            paths.append(f"{c}/{c[4:]}_{number}.jpg")
            boxes.append(f"{left}.0 {top}.0 8.0 6.0")
    for name, rows in (("images", paths), ("bounding_boxes", boxes)):
        lines = "".join(f"{number} {row}\n" for number, row in enumerate(rows, 1))
        files[f"CUB_200_2011/{name}.txt"] = lines.encode()
    files[f"CUB_200_2011/parts/{CLASSES[0]}/1.txt"] = b""
    return files


def test_cub_is_split_as_chen_et_al(root, holding):
    holding("cub", 2)
    write_tar(root / "CUB_200_2011.tgz", cub_files())
    data = ImageFolder(known="cub", size=8).load()
    names = {split: examples.class_names for split, examples in data.splits.items()}
    assert names["train"] == tuple(CLASSES[::2])
    assert names["val"] == tuple(CLASSES[1::4])
    assert names["test"] == tuple(CLASSES[3::4])
    assert not (data.splits["train"].values == 255).all((1, 2, 3)).any()
    assert data.skipped.warnings == ()


def test_boxes_are_cut_out(root, holding):
    holding("cub", 2)
    write_folder(root, cub_files())
    source = ImageFolder(known="cub", size=8, boxes=True)
    data = source.load()
    assert all((examples.values == 255).all() for examples in data.splits.values())
    assert "the cache matches" in source.check()
    assert not (ImageFolder(known="cub", size=8).load().splits["val"].values == 255).all()


SYNSETS = list(tiered_folders())


def tiered_pickles(protocol: int | None) -> dict[str, bytes]:
    """Return the pickles of the release, of four classes a split; protocol None: as written by Python 2."""
    files = {}
    for number, split in enumerate(("train", "val", "test")):
        labels = np.array([0, 1, 0, 2, 1, 2, 3, 3])
        pictures = [make_picture(100 * number + i, 9, 9) for i in range(len(labels))]
        arrays = [np.frombuffer(picture, np.uint8)[:, None] for picture in pictures]
        names = [f"class {number} {i}" for i in range(4)]
        tables = {
            "label_specific": labels,
            "label_general": labels // 2,
            "label_specific_str": names,
            "label_general_str": ["dog, domestic/dog", "crane"],
        }
        for kind, value in (("images_png", arrays), ("labels", tables)):
            content = Python2().dump(value) if protocol is None else pickle.dumps(value, protocol)
            files[f"tiered-imagenet/{split}_{kind}.pkl"] = content
    return files


@pytest.fixture
def four_classes(monkeypatch):
    sizes = dict.fromkeys(("train", "val", "test"), (4, 0, 0))
    known = dataclasses.replace(PUBLISHED["tiered_imagenet"], sizes=sizes, pictures=24)
    monkeypatch.setitem(PUBLISHED, "tiered_imagenet", known)


@pytest.mark.parametrize("protocol", [None, 3, 4])
def test_tiered_imagenets_pickles_are_read_by_position(root, four_classes, protocol):
    write_folder(root, tiered_pickles(protocol))
    data = ImageFolder(known="tiered_imagenet", size=9, storage="disk").load()
    val = data.splits["val"]
    assert val.class_names == (
        "crane/class 1 2",
        "crane/class 1 3",
        "dog, domestic_dog/class 1 0",
        "dog, domestic_dog/class 1 1",
    )
    pictures = [Image.open(io.BytesIO(make_picture(100 + i, 9, 9))) for i in (3, 5)]
    expected = np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in pictures])
    assert np.array_equal(val.of_class("crane/class 1 2"), expected)


def test_tiered_imagenet_is_read_from_ilsvrcs_folders(root, holding):
    holding("tiered_imagenet", 1)
    same = make_picture(0, 9, 9)
    files = {f"{synset}/{synset}_{1}.JPEG": same for synset in [*SYNSETS, "n00000001"]}
    write_folder(root / "tiered_imagenet" / "ILSVRC2012_img_train", files)
    data = ImageFolder(known="tiered_imagenet", size=9).load()
    assert [len(data.splits[split].class_names) for split in ("train", "val", "test")] == [351, 97, 160]
    assert "n01524359/n01530575" in data.splits["train"].class_names


class Malicious:
    def __reduce__(self):
        return print, ("code of the pickle was run",)


def python_files(**changed: object) -> dict[str, bytes]:
    files = cifar_python()
    for part, value in changed.items():
        files[f"cifar-100-python/{part}"] = value if isinstance(value, bytes) else Python2().dump(value)
    return files


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (python_files(train=pickle.dumps(Malicious())), "train is not .*it names builtins.print, which is neither"),
        (python_files(test=cifar_python()["cifar-100-python/test"][:5000]), "test is not what the release has"),
        (python_files(train=[1, 2]), "train is not what the release has .it is not a dict"),
        (python_files(train={"data": 1}), "train is not what the release has .it has no fine_labels"),
        (
            python_files(train={"data": np.zeros((2, 30), np.uint8), "fine_labels": [0, 1]}),
            "its data are not 2 rows of 3072 bytes",
        ),
        (
            python_files(train={"data": np.zeros((1, 3072), np.uint8), "fine_labels": [100]}),
            "row 0 has the label 100",
        ),
        (
            python_files(meta={"fine_label_names": [*FINE[:99], "zebra"]}),
            "no pictures of 1 of 100 classes, such as worm",
        ),
        ({"cifar-10-batches-py/data_batch_1": b"x"}, "has no pictures of 100 of 100 classes, such as apple"),
    ],
)
def test_a_wrong_or_damaged_cifar_is_a_sentence(root, files, said, capsys):
    write_folder(root, files)
    with pytest.raises(UserError, match=said):
        ImageFolder(root=str(root), known="cifar_fs", size=32).load()
    assert capsys.readouterr().out == ""


def test_an_incomplete_cifar_is_a_sentence(root):
    write_folder(root, cifar_python())
    with pytest.raises(UserError, match=r"split 'train' of fc100 in .* has 60 classes of 3 .* but 60 of 600 to 600"):
        ImageFolder(known="fc100", size=32).load()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a valid tar archive"),
        (b"<html>not found</html>", "is not a valid tar archive"),
        (gzip.compress(b"no tar" * 300, mtime=0), "is not a valid tar archive"),
        (gzip.compress(bytes(range(256)) * 300, mtime=0)[:200], "is not a valid tar archive"),
    ],
)
def test_a_damaged_archive_is_a_sentence(root, content, said):
    write_folder(root, {"CUB_200_2011.tgz": content})
    with pytest.raises(UserError, match=said):
        ImageFolder(known="cub").load()


def test_a_tar_cannot_lead_outside_itself(root):
    write_tar(root / "CUB_200_2011.tgz", {"../../evil.txt": b"x"})
    with pytest.raises(UserError, match="a path outside the archive"):
        ImageFolder(known="cub").load()


def test_other_birds_are_a_sentence(root, holding):
    files = {name: content for name, content in cub_files(1).items() if "200." not in name}
    write_folder(root, files)
    with pytest.raises(UserError, match=r"has 199 folders such as 001.Black_footed_Albatross but CUB has 200"):
        ImageFolder(known="cub").load()
    write_folder(root, cub_files(1))
    with pytest.raises(UserError, match=r"100 / 50 / 50 classes and 200 pictures but cub has 100 / 50 / 50 and 11,788"):
        ImageFolder(known="cub").load()
    holding("cub", 1)
    (root / "CUB_200_2011" / "bounding_boxes.txt").write_text("1 1.0 2.0\n")
    with pytest.raises(UserError, match=r"bounding_boxes.txt does not fit images.txt"):
        ImageFolder(known="cub", boxes=True).load()
    (root / "CUB_200_2011" / "bounding_boxes.txt").unlink()
    with pytest.raises(UserError, match=r"has no bounding_boxes.txt; complete your copy, or set `data.boxes=false`"):
        ImageFolder(known="cub", boxes=True).load()


def test_only_cub_has_boxes():
    with pytest.raises(UserError, match=r"data.boxes=true but fc100 has no bounding boxes"):
        ImageFolder(known="fc100", boxes=True)
    with pytest.raises(UserError, match=r"data.boxes=true but image_folder has no bounding boxes"):
        ImageFolder(root=".", boxes=True)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("val_labels", lambda content: content[:40], "val_labels.pkl is not what the release has"),
        ("val_labels", lambda _: pickle.dumps({"label_specific": []}), "val_labels.pkl is not .*label_specific_str"),
        ("test_images_png", lambda content: content[:700], "test_images_png.pkl is not what the release has"),
        ("test_images_png", lambda _: pickle.dumps([b"\x89PNG\r\n\x1a\n"], 3), "it has 1 pictures but 8 labels"),
        ("train_labels", None, "has no train_labels.pkl; complete your copy of tieredImageNet"),
    ],
)
def test_wrong_pickles_are_a_sentence(root, four_classes, name, change, said):
    files = tiered_pickles(4)
    content = files.pop(f"tiered-imagenet/{name}.pkl")
    if change is not None:
        files[f"tiered-imagenet/{name}.pkl"] = change(content)
    write_folder(root, files)
    with pytest.raises(UserError, match=said):
        ImageFolder(known="tiered_imagenet", size=9).load()


@pytest.mark.parametrize("name", ["cifar_fs", "fc100", "tiered_imagenet", "cub"])
def test_what_is_missing_is_named_with_its_place(root, name):
    with pytest.raises(UserError, match=rf"{name} was not found; put .*https://.* into {root / name}, set `data.root`"):
        ImageFolder(known=name).load()


def test_the_lists_are_those_of_the_data_card(mirror):
    splits = mirror / "splits"
    for split in ("train", "val", "test"):
        pairs = json.loads((splits / "cifar_fs" / f"{split}.json").read_text())
        assert sorted(c for _, c in pairs) == sorted(LISTS["cifar_fs"][split])
        assert all(c in LISTS["superclasses"][group] for group, c in pairs)
        assert json.loads((splits / "fc100" / f"{split}.json").read_text()) == LISTS["fc100"][split]
        rows = [row.split(",") for row in (splits / "tiered_imagenet" / f"{split}.csv").read_text().split()]
        tiered = {synset: f"{split}/{category}/{synset}" for synset, category in rows if synset.startswith("n")}
        assert tiered == {s: place for s, place in tiered_folders().items() if place.startswith(f"{split}/")}
        birds = json.loads((splits / "cub" / f"{split}.json").read_text())
        expected = {1: "train", 3: "train", 2: "val", 0: "test"}
        assert {expected[int(bird[:3]) % 4] for bird in birds} == {split}
