"""`python -m nybble` is the command `nybble`."""

import sys

from .cli import main

sys.exit(main())
