"""Deepgram's API: live over a websocket (`live`), and whole recordings over HTTP. docs/wires.md says what it serves."""
