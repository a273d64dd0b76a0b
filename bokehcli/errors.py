"""Everything that can go wrong, one leaf a kind of failure.

    BokehError
    |-- UsageError            options or arguments that contradict each other (exit status 2)
    |-- MissingDependency     a package or system library that is not installed
    |-- ModelError            a model file or card that is absent, damaged or does not fit
    |-- DeviceError           an execution provider that was asked for and is not there
    |-- LedgerError           the record in the output folder cannot be read or written
    |-- WorkerError           a process to render photos in that could not be started
    |-- TrainingError         training that cannot go on
    |   `-- DivergenceError   for its numbers are not finite any more
    `-- PhotoError            one photo could not be done; the batch goes on
        |-- ReadError         the file cannot be read
        |-- DecodeError       the bytes are not a photo that can be decoded
        |-- UnsupportedPhoto  a photo, but of a kind that is not rendered (animated, too large ...)
        |-- EncodeError       the result cannot be written in that container
        `-- WriteError        the result cannot be stored
            `-- Undecided     for what lies there is not the same, and may be anybody's

Every message is one line and names the file and the cause.
"""


class BokehError(Exception):
    """Root of all errors that this program raises on purpose."""


class UsageError(BokehError):
    """Options or arguments that contradict each other."""


class MissingDependency(BokehError):
    """A package or system library that is needed and not installed; the message says how to get it."""


class ModelError(BokehError):
    """A model file or card that is absent, damaged or does not fit."""


class DeviceError(BokehError):
    """An execution provider that was asked for and is not there."""


class LedgerError(BokehError):
    """The record of what was done, in the output folder, cannot be read or written."""


class WorkerError(BokehError):
    """A process to render photos in that could not be started, or died before it took up a photo."""


class TrainingError(BokehError):
    """Training that cannot go on; what was done until then is worth keeping."""


class DivergenceError(TrainingError):
    """Training whose loss or gradients are not finite: the network is of no use any more, and older ones are."""


class PhotoError(BokehError):
    """One photo could not be done. ``name`` is the file, ``reason`` the cause in one line."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.name, self.reason)


class ReadError(PhotoError):
    """The file cannot be read."""


class DecodeError(PhotoError):
    """The bytes are not a photo that can be decoded."""


class UnsupportedPhoto(PhotoError):
    """A photo, but of a kind that is not rendered."""


class EncodeError(PhotoError):
    """The result cannot be written in that container."""


class WriteError(PhotoError):
    """The result cannot be stored."""


class Undecided(WriteError):
    """What lies in the result's place is not the same, and may be this program's of a run that was killed, or anybody's."""
