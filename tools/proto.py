"""Writes the descriptor sets of src/voxgate/proto: `make proto`, after a change to a proto file."""

import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
DIRECTORY = SOURCE / "voxgate/proto"

# The proto files that are APIs of their own. A file that they import is in their sets.
APIS = ("riva", "voxgate")


def compiled(name: str) -> bytes:
    """The descriptor set of NAME.proto. Needs grpcio-tools."""
    from grpc_tools import protoc  # of the development environment alone

    include = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.binpb"
        arguments = ["protoc", f"-I{SOURCE}", f"-I{include}", "--include_imports", f"--descriptor_set_out={out}"]
        if protoc.main([*arguments, str(DIRECTORY / f"{name}.proto")]):
            sys.exit(f"{name}.proto cannot be compiled")
        return out.read_bytes()


def main() -> None:
    for name in APIS:
        (DIRECTORY / f"{name}.binpb").write_bytes(compiled(name))


if __name__ == "__main__":
    main()
