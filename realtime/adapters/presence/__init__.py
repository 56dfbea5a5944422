"""Presence: who is on a channel, on whatever node."""
