import time

import pytest

from metarun.system.parsing import LARGEST_YAML, parse_json, parse_yaml


def test_json_and_yaml_become_plain_values():
    assert parse_json(b'{"a": [1, 2.5, null, "b"]}') == {"a": [1, 2.5, None, "b"]}
    assert parse_yaml(b"a: [1, 2.5, null, b]") == {"a": [1, 2.5, None, "b"]}


@pytest.mark.parametrize("content", [b"[NaN]", b"[Infinity]", b"[-Infinity]"])
def test_what_is_no_number_is_no_json(content):
    with pytest.raises(ValueError, match="is no number of JSON"):
        parse_json(content)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 2_000 + b"]" * 2_000])
@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_what_nests_too_deep_is_refused(parse, content):
    with pytest.raises(ValueError, match="nest"):
        parse(content)


@pytest.mark.parametrize("content", [b"a: &x [1]\nb: *x", b"a: &x {b: *x}", b"a: &x {b: 1}\nc: {<<: *x}"])
def test_aliases_of_which_a_few_stand_for_a_document_without_end_are_refused(content):
    with pytest.raises(ValueError, match="it has an alias, which is not read; write it out"):
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
def test_what_is_no_yaml_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"."):
        parse_yaml(content)


def test_a_large_document_is_read_as_json_alone():
    large = b'["' + b"x" * LARGEST_YAML + b'"]'
    assert parse_yaml(large) == ["x" * LARGEST_YAML]
    started = time.perf_counter()
    with pytest.raises(ValueError, match="bytes are more than is read of YAML; write JSON"):
        parse_yaml(b"- " + large)
    assert time.perf_counter() - started < 1
