"""Independent random streams from one seed, each found again by its place and never by what ran before it."""

import numpy as np

# The first number of a place says what the stream decides.
INITIAL, ORDER, AUGMENTATION, STEP, BACKBONE = range(5)


def stream(seed: int, *place: int) -> int:
    """The seed of the stream at a place, such as (AUGMENTATION, epoch, row).

    What is drawn there does not depend on how many processes draw, nor on where a run was interrupted.

    >>> stream(0, ORDER, 1) == stream(0, ORDER, 1), stream(0, ORDER, 1) == stream(0, ORDER, 2)
    (True, False)
    """
    return int(np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)[0] >> 1)
