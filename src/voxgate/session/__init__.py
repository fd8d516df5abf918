"""One client's work, whatever carries its bytes."""
