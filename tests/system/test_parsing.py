import time

import pytest

from metarun.system.parsing import LARGEST_YAML, parse_json, parse_yaml


def test_json_and_yaml_become_plain_values():
    assert parse_json(b'{"a": [1, 2.5, null, "b"]}') == {"a": [1, 2.5, None, "b"]}
    assert parse_yaml(b"a: [1, 2.5, null, b]") == {"a": [1, 2.5, None, "b"]}


@pytest.mark.parametrize("content", [b"[NaN]", b"[Infinity]", b"[-Infinity]"])
def test_nan_and_infinity_are_not_valid_json(content):
    with pytest.raises(ValueError, match="is not valid JSON"):
        parse_json(content)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 2_000 + b"]" * 2_000])
@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_deep_nesting_is_refused(parse, content):
    with pytest.raises(ValueError, match="nest"):
        parse(content)


@pytest.mark.parametrize("content", [b"a: &x [1]\nb: *x", b"a: &x {b: *x}", b"a: &x {b: 1}\nc: {<<: *x}"])
def test_aliases_are_refused(content):
    with pytest.raises(ValueError, match="it has an alias, which is not supported; write the value out"):
        parse_yaml(content)


@pytest.mark.parametrize(
    "content",
    [
        b"!!python/object/apply:os.system [x]",
        b"a: 2024-13-45",
        b"\xff\xfe",
        b"a: \x07",
        b"a: [",
        b"\x00",
    ],
)
def test_invalid_yaml_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"."):
        parse_yaml(content)


def test_a_large_document_must_be_json():
    large = b'["' + b"x" * LARGEST_YAML + b'"]'
    assert parse_yaml(large) == ["x" * LARGEST_YAML]
    started = time.perf_counter()
    with pytest.raises(ValueError, match="bytes are too many for YAML; use JSON"):
        parse_yaml(b"- " + large)
    assert time.perf_counter() - started < 1
