"""Strategies for input from outside: numbers, texts, names, documents and damaged bytes."""

import json
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

HUGE = 10**400  # too large for a float

NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**9, 10**12, HUGE, -HUGE]),
    st.sampled_from([0.5, -0.5, float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, 1e-300]),
    st.integers(),
    st.floats(),
)

# Texts that a terminal, a page, a shell, a path or a table might misinterpret.
TEXTS = st.one_of(
    st.sampled_from(
        [
            *(
                "",
                " ",
                ".",
                "..",
                "/",
                "~",
                "~nobody/x",
                "-",
                "--help",
                "-m",
                "=",
                "a=b",
                "a,b",
                "[",
                "${",
                "${seed}",
                "null",
            ),
            *(
                "../../../outside/keep.txt",
                "/etc/passwd",
                "/dev/zero",
                "/dev/stdin",
                "a/b",
                "a\\b",
                "C:\\x",
                "\\\\host\\x",
            ),
            *(
                "<script>alert(1)</script>",
                '"><img src=x onerror=alert(1)>',
                "</pre><b>",
                "{{ 7 * 7 }}",
                "javascript:x",
            ),
            *(
                "\x1b[2J\x1b]0;title\x07",
                "a\nb",
                "a\r\nb",
                "\u202egnp.exe",
                "\u2028",
                "\ufeff",
                "\ud800",
                "\udcff",
                "[bold]x[/]",
            ),
            *(
                "$(touch x)",
                "`touch x`",
                "; touch x",
                "%s%n",
                "{0.__class__}",
                "=cmd()",
                "|",
                "&",
                "a|b",
                "\\input{x}",
                "$x$",
            ),
            *(
                "日本語",
                "עברית",
                "العربية",
                "𐍈",
                "é",
                "e\u0301",
                "🦉",
                "ﷺ",
                "Ω" * 300,
                "x" * 5000,
                "nan",
                "1e400",
                "true",
            ),
        ]
    ),
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=5),
)

SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)

VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


def nested(depth: int, opening: str, closing: str) -> bytes:
    return (opening * depth + closing * depth).encode()


DEEP = [
    *(nested(depth, *brackets) for depth in (50, 2_000, 100_000) for brackets in ("[]", ('{"a":', "}"))),
    b"- " * 3_000 + b"x",
    b"".join(b" " * i + b"a:\n" for i in range(1_500)),
]

# Small documents that expand, are slow to parse, or name code to run.
DOCUMENTS = [
    *DEEP,
    b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (c + 1, c + 1, *[c] * 9) for c in range(97, 106)),
    b"a: &a {k1: 1, k2: 2}\n"
    + b"".join(
        b"%c: &%c {<<: [%s], z%d: 1}\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 9), c) for c in range(97, 106)
    ),
    b"a: &a [*a]\n",
    b"&a {train: *a, val: *a, test: *a}",
    b"!!python/object/apply:os.system [touch pwned]",
    b"train: !!python/object/new:os.system [touch pwned]\n",
    b"train: !unknown x",
    b"train: 2024-13-45",
    b"train: 2024-01-01T99:99:99Z",
    b"train: " + b"1" * 5_000,
    b"train: 0x",
    b"train: " + b":".join([b"59"] * 2_000),
    b"train: 1e400\nval: .nan\ntest: -.inf",
    b"train: [a]\ntrain: [b]\n",
    b"? [a, b]\n: c\n",
    b"? {a: b}\n: c\n",
    b"!!binary x: y",
    b"train: !!binary '*'",
    b"train: !!set {a, b}",
    b"train: !!omap [a, b]",
    b"=: 1",
    b"<<: 1",
    b"<<: [1, 2]",
    b"\xff\xfet\x00r\x00a\x00i\x00n\x00",
    b"\xef\xbb\xbf{}",
    b"\x00",
    b"train: \x07",
    b"%YAML 9.9\n---\n",
    b"---\n---\n",
    b"'" + b"a" * 100_000,
    b"a: b: c",
    b"\t- x",
    b"null",
    b"",
]


def dumped(values: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    """Dump values as JSON or YAML."""
    return st.one_of(
        values.map(lambda value: json.dumps(value, default=str).encode()),
        values.map(lambda value: yaml.dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")),
    )


@st.composite
def spoilt(draw: Any, whole: SearchStrategy[bytes]) -> bytes:
    """Bytes with parts removed, changed or inserted."""
    content = bytearray(draw(whole))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 30))
        how = draw(st.sampled_from(["cut", "flip", "take", "put", "zeros"]))
        if how == "cut":
            del content[at:]
        elif how == "take":
            del content[at : at + length]
        elif how == "put":
            content[at:at] = draw(st.binary(max_size=length))
        elif how == "zeros":
            content[at : at + length] = bytes(len(content[at : at + length]))
        elif content:
            content[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


# Mapped, so that an enclosing one_of counts this as one option instead of three.
FOREIGN = st.one_of(st.binary(max_size=200), st.sampled_from(DOCUMENTS), dumped(VALUES)).map(bytes)
