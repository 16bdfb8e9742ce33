"""The errors that nybble raises; each names the file, the field or tensor, what was expected and found."""


class NybbleError(Exception):
    """Base of every error that nybble raises on purpose."""


class GGUFFormatError(NybbleError, ValueError):
    """The bytes are not a well-formed GGUF file (bad magic, truncated, sizes that do not add up)."""


class GGUFUnsupportedError(NybbleError):
    """A well-formed GGUF file asks for something that nybble does not do (version, format, architecture)."""


class ModelError(NybbleError):
    """The container is fine, but its content contradicts itself or lacks something the model needs."""


class RequestError(NybbleError, ValueError):
    """What the caller asked for is out of range or of the wrong type: a prompt, a parameter, a name."""


class PullError(NybbleError):
    """A model could not be fetched, or what arrived is not what was expected."""
