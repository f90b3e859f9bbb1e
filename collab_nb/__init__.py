"""A notebook course on collaborative filtering whose code is a library.

Written by hand, and light on purpose: nothing is imported until you ask for it."""
__version__ = "0.2.0"
