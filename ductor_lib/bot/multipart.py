"""A request body with a file in it, read while it is sent: a large file never is in memory as a whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from ductor_lib.security import size_of

CHUNK = 1 << 16  # bytes
# As browsers do it (HTML standard, "multipart/form-data encoding algorithm"); the name itself goes as UTF-8.
ESCAPES = str.maketrans({"\n": "%0A", "\r": "%0D", '"': "%22"})


class Multipart:
    """`form` and one file as multipart/form-data (RFC 7578). May be iterated once; raises OSError when the file got shorter.

    The length is known in advance: what a file gains while it is sent stays behind.
    """

    def __init__(self, form: Mapping[str, str], field: str, name: str, file: BinaryIO) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        lines = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in form.items()]
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name.translate(ESCAPES)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = "".join(lines).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file = file
        self._size = size_of(file)

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._size
        while left:
            piece = self._file.read(min(CHUNK, left))
            if not piece:
                raise OSError("the file became shorter while it was sent")
            left -= len(piece)
            yield piece
        yield self._tail
