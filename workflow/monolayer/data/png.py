"""PNG says by checksums whether its bytes are those that were written; decoders pass over those of the pixels."""

from __future__ import annotations

import struct
import zlib

from monolayer.files import InputError

START = b"\x89PNG\r\n\x1a\n"


def check_png(data: bytes, name: str) -> None:
    """Refuse a PNG that is cut short or whose bytes have changed: its pixels would be wrong without a word."""
    at, kind = len(START), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise InputError(
                f"{name} is not readable as an image (a PNG ends with IEND); is it cut short? copy it again"
            )
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise InputError(
                f"{name} is not readable as an image (it goes on beyond its end); is it cut short? copy it again"
            )
        if zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise InputError(f"{name} is damaged at byte {at:,}: the checksum is another one; copy it again")
        at = end + 4
