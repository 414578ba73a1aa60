"""A protoc plugin that makes ``*_pb2_grpc.py``: grpcio-tools has its generator built in, where buf cannot call it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def main() -> None:
    """Answer a CodeGeneratorRequest on stdin with a CodeGeneratorResponse on stdout."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    wanted = set(request.file_to_generate)
    services = [file.name for file in request.proto_file if file.name in wanted and file.service]
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    if services:
        with tempfile.TemporaryDirectory() as folder:
            descriptors = Path(folder, "descriptors.binpb")
            descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
            out = Path(folder, "out")
            out.mkdir()
            arguments = ["protoc", f"--descriptor_set_in={descriptors}", f"--grpc_python_out={out}", *services]
            if protoc.main(arguments) != 0:
                response.error = "grpc_tools.protoc failed; its message is on stderr"
            for file in sorted(out.rglob("*.py")):
                response.file.add(name=str(file.relative_to(out)), content=file.read_text())
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
