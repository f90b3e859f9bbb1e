"""A notebook course on collaborative filtering whose code is a library.

Written by hand, and light on purpose: nothing is imported until it is asked for."""
__version__ = "0.1.0"
