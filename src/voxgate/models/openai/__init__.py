"""Any server with OpenAI's `/v1/audio/transcriptions` as a live model."""

from voxgate.models.openai.model import OpenAI

__all__ = ["OpenAI"]
