"""Who calls, what they may ask for, how much of it, and whose turn it is. `gate` is the one way in."""
