"""Which container some bytes belong to; the server decodes it."""
