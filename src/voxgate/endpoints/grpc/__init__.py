"""The wires over gRPC. Only a server with `grpc.port` imports what is in here: it needs the extra `grpc`."""
