"""Images: where their bytes are, how they become pixels, and how training changes them."""
