"""Blocks: which users may not connect, and which tokens are no longer believed."""
