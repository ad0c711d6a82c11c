"""The errors that reach an operator. Their text is one sentence that says what is wrong and what to change."""


class EmoStreamError(Exception):
    """A failure whose message is for the operator; the command prints it, without a traceback, and exits 1."""


class ConfigurationError(EmoStreamError):
    """A setting is unknown, missing or has a value that cannot work; the command exits 2."""


class OutcomeUnknownError(EmoStreamError):
    """A write was sent and its acknowledgement never came: it may or may not be in the log.

    Whoever raises it must not write again; only reading the log back tells what happened.
    """
