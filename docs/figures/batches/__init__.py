"""The measurements of chapter 6: one module each, with its plot and its table."""
