"""Results as a reader sees them: tables on the terminal, figures, and one self-contained page."""
