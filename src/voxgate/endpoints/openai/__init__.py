"""OpenAI's transcription APIs: whole files over HTTP, and live audio over a websocket."""
