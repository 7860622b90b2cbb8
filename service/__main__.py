"""`python -m service` and the `onward` command; it does not know the subcommands."""

import sys

from service.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
