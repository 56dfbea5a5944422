"""Blocks: who may not connect for a time, and whose tokens count no more."""
