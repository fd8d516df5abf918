"""The descriptor sets are those of the proto files."""

from __future__ import annotations

import pytest

pytest.importorskip("google.protobuf")

from google.protobuf import descriptor_pb2, json_format

from tools import proto
from voxgate.proto import descriptors
from voxgate.proto.voxgate import SERVICE


def described(data: bytes) -> list[dict]:
    """The files of a descriptor set that are our own."""
    files = descriptor_pb2.FileDescriptorSet.FromString(data).file
    return [json_format.MessageToDict(file) for file in files if not file.name.startswith("google/")]


@pytest.mark.parametrize("name", proto.APIS)
def test_the_set_is_that_of_the_file(name):
    pytest.importorskip("grpc_tools")
    assert described((proto.DIRECTORY / f"{name}.binpb").read_bytes()) == described(proto.compiled(name)), "make proto"


def test_every_proto_file_is_in_a_set():
    sets = [file for name in proto.APIS for file in described((proto.DIRECTORY / f"{name}.binpb").read_bytes())]
    files = {str(path.relative_to(proto.SOURCE)) for path in proto.DIRECTORY.glob("*.proto")}
    assert {file["name"] for file in sets} == files


def test_an_api_has_a_pool_of_its_own():
    one, other = descriptors.load("voxgate"), descriptors.load("voxgate")
    assert one.message("voxgate.v1.Start") is not other.message("voxgate.v1.Start")
    assert {method.name for method in one.pool.FindServiceByName(SERVICE).methods} == {"Stream", "Info"}
