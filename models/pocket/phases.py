"""Where training's phases begin, and what sets the later ones apart; it draws nothing."""

PHASES = (0, 65_536, 560_128, 580_608, 617_472)
"""The first conversation of each, as the run that shipped took them."""

LOOK_UP, DRILL = 2, 3
"""From these phases on functions are named in more ways, and many calls of few functions are drilled."""
