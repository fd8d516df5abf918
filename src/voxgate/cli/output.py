"""Files that the command line writes. A file gets its name once it is complete, and an input is never overwritten.

A character that the encoding lacks is written as a JSON escape, so that no result is lost.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from types import TracebackType
from typing import Any, BinaryIO, Final, TextIO

__all__ = ["ESCAPES", "NamedFile", "Output", "SameFile", "silence"]

ESCAPES: Final = "voxgate_json_escapes"
"""The `errors` of a text file that encodes missing characters as JSON escapes."""
_DIRECT: Final = ("/dev/fd/", "/dev/std", "/proc/")  # names of open descriptors, which may be files
_NOT_BESIDE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


def _as_json_escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[index : index + 2].hex() for index in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end


codecs.register_error(ESCAPES, _as_json_escapes)


class SameFile(ValueError):
    """The output is also an input or another output, which writing would destroy."""


class NamedFile(io.FileIO):
    """A file whose write errors contain its name."""

    def __init__(self, descriptor: int, label: str, closefd: bool = True) -> None:
        super().__init__(descriptor, "wb", closefd)
        self._label = label

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self._label
            raise


def silence(descriptor: int) -> None:
    """Discards further writes to a descriptor, so that a file that failed does not fail again when it is closed."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


class Output:
    """A file to write: `file` accepts bytes, `text` accepts text in UTF-8. `commit` gives the file its name; `close`
    without it leaves the old file.

    A new file is written beside the old one and renamed, so that a reader sees one or the other. Anything but a regular
    file (a terminal, a pipe, /dev/stdout) is written directly. `inputs` are paths and open descriptors that are being
    read, `others` further outputs. Raises SameFile when the output is one of them, even under another name, and OSError
    with `path` as `filename` when it cannot be written.
    """

    def __init__(self, path: str, inputs: Iterable[str | int] = (), others: Iterable[str] = ()) -> None:
        self.path = path
        self._target = os.path.realpath(path)
        self._temporary: str | None = None
        self._is_beside = True
        status = _status(path)
        is_regular = status is None or stat.S_ISREG(status.st_mode)
        if path.endswith(os.sep) or (status is not None and stat.S_ISDIR(status.st_mode)):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if is_regular:
            _refuse_same(path, status, inputs, "is also an input")
            _refuse_same(path, status, others, "is written by another option")
        try:
            if status is not None and (not is_regular or _is_direct(path)):
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            else:
                descriptor = self._make_temporary(status)
        except OSError as error:
            error.filename = path
            raise
        self.file: BinaryIO = io.BufferedWriter(NamedFile(descriptor, path))
        self.text: TextIO = io.TextIOWrapper(self.file, "utf-8", ESCAPES)

    def _make_temporary(self, status: os.stat_result | None) -> int:
        if status is not None and not os.access(self._target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)
        try:
            descriptor, self._temporary = tempfile.mkstemp(".part", ".voxgate-", os.path.dirname(self._target))
        except OSError as error:
            if status is None or error.errno not in _NOT_BESIDE:
                raise
            descriptor, self._temporary = tempfile.mkstemp(".part", "voxgate-")
            self._is_beside = False
        else:
            os.fchmod(descriptor, _default_mode() if status is None else stat.S_IMODE(status.st_mode))
        return descriptor

    def commit(self) -> None:
        """Writes everything and replaces the old file. Raises OSError when that fails; the old file then remains."""
        try:
            self.text.flush()
            if self._temporary is not None:
                os.fsync(self.file.fileno())
                self.file.close()
                self._replace(self._temporary)
        except OSError as error:
            error.filename = self.path
            raise
        finally:
            self.close()

    def _replace(self, temporary: str) -> None:
        if self._is_beside:
            try:
                os.replace(temporary, self._target)
            except OSError:
                if not os.path.isfile(self._target):
                    raise
            else:
                self._temporary = None
                return
        # The directory is read-only, or the file is a mount point.
        with open(temporary, "rb") as source, open(self._target, "wb") as target:
            shutil.copyfileobj(source, target)

    def close(self) -> None:
        """Discards the new file, unless `commit` came first. A second call does nothing."""
        with contextlib.suppress(OSError):  # of unwritten data; the file is closed nevertheless
            self.text.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            self._temporary = None

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _status(path: str | int) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _refuse_same(path: str, status: os.stat_result | None, others: Iterable[str | int], what: str) -> None:
    for other in others:
        try:
            found = os.stat(other)
        except (OSError, ValueError):
            found = None
        if found is None or status is None:
            same = isinstance(other, str) and os.path.realpath(other) == os.path.realpath(path)
        else:
            same = os.path.samestat(found, status)
        if same:
            raise SameFile(f"{path} {what}: choose another output")


def _is_direct(path: str) -> bool:
    """Whether `path` names an open descriptor, at any step of its links."""
    for _ in range(40):
        path = os.path.abspath(path)
        if path.startswith(_DIRECT):
            return True
        if not os.path.islink(path):
            return False
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return False


def _default_mode() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
