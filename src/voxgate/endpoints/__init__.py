"""The wires: each module turns the bytes of one protocol into typed requests and audio, and events into its words."""
