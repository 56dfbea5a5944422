"""Ports with their contracts in prose, and their memory and Redis forms."""
