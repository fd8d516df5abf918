"""The messages of the gRPC APIs: their proto files, and what protoc makes of them."""
