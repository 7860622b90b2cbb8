"""Entry point of `onward` and of `python -m onward_server`."""

import sys

from onward_server.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
