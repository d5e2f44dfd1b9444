"""``python -m npresnet``: the same as the ``npresnet`` command."""

import sys

from npresnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
