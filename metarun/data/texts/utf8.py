"""Decode text files of users."""

from metarun.errors import UserError


def decoded(content: bytes, where: str) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        UserError: it is not UTF-8; the message names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"line {line} of {where} is not UTF-8 (byte 0x{content[error.start]:02x})",
            "convert the file, such as by `iconv -f latin1 -t utf-8`.",
        ) from None
