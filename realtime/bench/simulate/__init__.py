"""
What a fleet would do: measured costs, played through a day, a storm and a loss.

Everything here but ``scenario`` is pure: no clock, no file, no socket. Time is virtual,
chance comes from a seed, and the same arguments give the same answer.
"""
