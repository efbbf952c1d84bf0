"""Kept for tools that ask for it; every setting is in setup.cfg."""

from setuptools import setup

setup()
