"""The parts in C, which no other file can name; everything else is in setup.cfg."""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Without a compiler they are left out, and their twins in Python do the work.
        Extension(f"realtime.native.{source.stem}", [str(source)], optional=True)
        for source in sorted(Path("realtime/native").glob("*.c"))
    ]
)
