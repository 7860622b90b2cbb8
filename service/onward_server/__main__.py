"""`python -m onward_server` and the `onward` command; it does not know the subcommands."""

import sys

from onward_server.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
