"""Whom a token of an answer is about: a number that training teaches two heads to look at (`model.pointing_loss`).

Below GRID_AIM it is a thing in the picture, as `Cell.owner` counts them; from there on a pair of a clip's frames; from
CELL_AIM on one visual token. NOBODY is none of these.
"""

NOBODY = -1
GRID_AIM = 1000
CELL_AIM = 2000
