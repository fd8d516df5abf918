"""What a server reports about itself: metrics and traces."""
