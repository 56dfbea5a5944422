"""Tests of the server; they mirror realtime/."""
