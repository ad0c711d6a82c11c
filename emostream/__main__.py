"""`python -m emostream` is the command `emostream`."""

import sys


def main() -> None:
    """Run the command, or say what it needs where only the client library is installed."""
    try:
        from emostream import cli  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "emostream").startswith("emostream"):
            raise
        sys.exit(
            f"emostream: the package {error.name} is not installed: `pip install 'emostream[services]'` brings what "
            "the command needs."
        )
    cli.main()


if __name__ == "__main__":
    main()
