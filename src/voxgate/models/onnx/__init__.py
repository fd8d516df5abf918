"""Any ONNX model that takes a waveform, through onnxruntime."""

from voxgate.models.onnx.model import Onnx

__all__ = ["Onnx"]
