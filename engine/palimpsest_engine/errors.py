"""Every error that a user can cause, with one sentence and one exit code each.

::

    PalimpsestError                 1
    ├── DocumentError
    │   ├── DocumentMissing         10   no such file
    │   ├── DocumentBinary          11   NUL bytes: not a text
    │   ├── DocumentEncoding        12   not UTF-8
    │   ├── PositionOutside         13   a line or column the document does not have
    │   └── DocumentChanged         14   another program has written it meanwhile
    ├── CheckpointError
    │   ├── CheckpointMissing       20   no such checkpoint
    │   ├── CheckpointBroken        21   truncated, tampered with, or different from its config
    │   ├── UnsupportedCheckpoint   22   a pickle, another model class, an unknown quantisation
    │   ├── DownloadFailed          23   no network, refused, cut off, another hash, a full disk
    │   ├── LanguageUnknown         25   the model was not trained on the language of the document
    │   └── NoKnownAnswer           26   nobody has published what this checkpoint answers, so it cannot be verified
    ├── EndpointError               24   the server that writes the middles is down, refuses, or answers with nonsense
    ├── OutOfMemory                 30   says how much is needed and how much is free
    ├── DeviceLost                  32   the GPU failed in the middle of work; it can be used after a restart
    ├── DeviceUnsupported           33   this torch has no code for this GPU, or the driver is too old for it
    ├── QueueFull                   34   too many newer fills of the same client wait
    ├── GrammarMissing              31   asked to check a language that has no grammar
    ├── DataError                   40   a row of a data file has the wrong form
    └── FillCancelled               130  the user, or a newer request, ended it
"""

from __future__ import annotations


class PalimpsestError(Exception):
    """Base of all errors that are shown to the user; `str(error)` is the whole sentence."""

    exit_code = 1


class DocumentError(PalimpsestError):
    """The document cannot be worked on."""


class DocumentMissing(DocumentError):
    """No such file."""

    exit_code = 10


class DocumentBinary(DocumentError):
    """The file is not text."""

    exit_code = 11


class DocumentEncoding(DocumentError):
    """The file is not UTF-8."""

    exit_code = 12


class PositionOutside(DocumentError):
    """The document has no such line or column."""

    exit_code = 13


class DocumentChanged(DocumentError):
    """The file changed between reading and writing."""

    exit_code = 14


class CheckpointError(PalimpsestError):
    """The checkpoint cannot be used."""


class CheckpointMissing(CheckpointError):
    """No checkpoint there."""

    exit_code = 20


class CheckpointBroken(CheckpointError):
    """The checkpoint is damaged, or its weights do not match its config."""

    exit_code = 21


class UnsupportedCheckpoint(CheckpointError):
    """The checkpoint is of a kind this engine does not load."""

    exit_code = 22


class EndpointError(PalimpsestError):
    """The server at the endpoint cannot be reached, refuses, or does not answer as its protocol says."""

    exit_code = 24


class DownloadFailed(CheckpointError):
    """A model could not be fetched; what arrived whole is kept for the next try."""

    exit_code = 23


class LanguageUnknown(CheckpointError):
    """The checkpoint was not trained on the language of the document, and nobody has insisted."""

    exit_code = 25


class NoKnownAnswer(CheckpointError):
    """There is no known answer to verify the checkpoint with."""

    exit_code = 26


class OutOfMemory(PalimpsestError):
    """The checkpoint does not fit; the message says what it needs and what is free."""

    exit_code = 30


class DeviceLost(PalimpsestError):
    """The GPU failed, and this process cannot use it any more."""

    exit_code = 32


class DeviceUnsupported(PalimpsestError):
    """The installed torch or driver does not support the GPU."""

    exit_code = 33


class QueueFull(PalimpsestError):
    """A client has more fills waiting for the engine than are kept; the oldest one was given up."""

    exit_code = 34


class GrammarMissing(PalimpsestError):
    """There is no grammar for a requested language."""

    exit_code = 31


class DataError(PalimpsestError):
    """A row of a data file has the wrong form."""

    exit_code = 40


class FillCancelled(PalimpsestError):
    """The fill was cancelled, or a newer request for the same document replaced it."""

    exit_code = 130
