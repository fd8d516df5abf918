"""AssemblyAI's streaming API, version 3. docs/wires.md says what it serves."""
