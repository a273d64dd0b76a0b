"""Give ordinary photos the shallow depth of field of a fast lens."""

import os

# Official builds of onnxruntime send what they are used for, and on what machine, to its makers, and keep a device's name and
# a database in the user's cache, unless this is said before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
