"""
Every decision, as plain functions over plain values. Pure: ``now`` is an argument.
"""
