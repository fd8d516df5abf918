"""What all sessions of a server process share, and who is admitted."""
