"""Give ordinary photos the shallow depth of field of a fast lens."""

__version__ = "0.1.0"
