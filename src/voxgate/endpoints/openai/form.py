"""The body of a multipart request, parsed as it arrives: fields, and one file whose bytes are handed on at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from voxgate.endpoints.openai.errors import ApiError

__all__ = ["Field", "FileBegin", "FileEnd", "FormEnd", "FormParser", "Item"]

FILE: Final = "file"
PART_BYTES: Final = 256
"""The cost of a part beside its headers and its value: a million empty ones are not free."""

# It logs what is wrong with a body: any client could fill the log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class Field(NamedTuple):
    name: str
    value: str


class FileBegin(NamedTuple):
    """The bytes that follow are those of the file."""

    content_type: str


class FileEnd(NamedTuple):
    """The file is complete."""


class FormEnd(NamedTuple):
    """The form is complete; bytes behind it are ignored."""


Item: TypeAlias = Field | FileBegin | bytes | FileEnd | FormEnd


class FormParser:
    """Takes the bytes of a body, cut anywhere. Raises ApiError for what is no form, for a second file, and for fields
    and headers that have more than `max_field_bytes` together. It keeps nothing of the file.
    """

    def __init__(self, content_type: str, max_field_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise ApiError("expected a body of type multipart/form-data with a boundary", None, "invalid_content_type")
        self._max_field_bytes = max_field_bytes
        self._n_field_bytes = 0
        self._items: list[Item] = []
        self._header_name = self._header_value = b""
        self._disposition = self._content_type = b""
        self._name: str | None = None  # of the part; None: its headers are not complete
        self._value = bytearray()
        self._is_file = self._has_file = False
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_begin": self._begin_header,
                    "on_header_field": self._collect(self._add_header_name),
                    "on_header_value": self._collect(self._add_header_value),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._collect(self._add_data),
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise ApiError(f"the boundary of the form: {error}", None, "invalid_form") from None

    def feed(self, data: bytes) -> list[Item]:
        """What is complete now, in order; pieces of the file as they came."""
        if self._is_complete:
            return []
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise ApiError(f"the form cannot be parsed: {str(error)[:120]}", None, "invalid_form") from None
        items, self._items = self._items, []
        return items

    def finish(self) -> None:
        """The body is over. Raises ApiError when the form is not."""
        if not self._is_complete:
            raise ApiError("the form ends before its last boundary", None, "invalid_form")

    @staticmethod
    def _collect(take: Callable[[bytes], None]) -> Callable[[bytes, int, int], None]:
        return lambda data, begin, end: take(data[begin:end])

    def _count(self, n_bytes: int) -> None:
        self._n_field_bytes += n_bytes
        if self._n_field_bytes > self._max_field_bytes:
            text = f"expected at most {self._max_field_bytes} bytes of fields beside the file"
            raise ApiError(text, None, "fields_too_large", 413, "upload_field_bytes")

    def _begin_part(self) -> None:
        self._count(PART_BYTES)
        self._disposition = self._content_type = b""
        self._name = None
        self._is_file = False
        self._value.clear()

    def _begin_header(self) -> None:
        self._header_name = self._header_value = b""

    def _add_header_name(self, data: bytes) -> None:
        self._count(len(data))
        self._header_name += data

    def _add_header_value(self, data: bytes) -> None:
        self._count(len(data))
        self._header_value += data

    def _end_header(self) -> None:
        name = self._header_name.lower()
        if name == b"content-disposition":
            self._disposition = self._header_value
        elif name == b"content-type":
            self._content_type = self._header_value

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name")
        if name is None:
            raise ApiError("a part of the form has no name", None, "invalid_form")
        self._name = name.decode("utf-8", "replace")
        if self._name == FILE:
            if self._has_file:
                raise ApiError("expected one file, got several", FILE, "invalid_form")
            self._is_file = self._has_file = True
            self._items.append(FileBegin(self._content_type.decode("latin-1")))

    def _add_data(self, data: bytes) -> None:
        if self._is_file:
            self._items.append(data)
        else:
            self._count(len(data))
            self._value += data

    def _end_part(self) -> None:
        if self._is_file:
            self._items.append(FileEnd())
            return
        assert self._name is not None
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise ApiError(f"{self._name:.40}: expected UTF-8 text", self._name[:40], "invalid_form") from None
        self._items.append(Field(self._name, value))

    def _end(self) -> None:
        self._is_complete = True
        self._items.append(FormEnd())
