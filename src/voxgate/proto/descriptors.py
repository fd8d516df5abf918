"""Message classes from the descriptor sets in this package, which `make proto` writes.

Each API has a pool of its own, and none is protobuf's default pool: a program that also imports code which protoc
generated from the same file would otherwise register the same names twice. And there is no generated Python code,
because that asks for the protobuf release by which it was made, or a newer one.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["Api", "load"]


class Api:
    """The messages and services of one API."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self.files = tuple(files.file)
        """Each after those that it imports."""
        self.pool = descriptor_pool.DescriptorPool()
        for file in self.files:
            self.pool.Add(file)

    def message(self, name: str) -> Any:
        """The class of a message, by its full name."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))


def load(name: str) -> Api:
    """The API of `NAME.proto`, from `NAME.binpb`."""
    data = resources.files(__package__).joinpath(f"{name}.binpb").read_bytes()
    return Api(descriptor_pb2.FileDescriptorSet.FromString(data))
