"""`python -m nanochat_tui`."""

import sys

from nanochat_tui.cli import main

sys.exit(main())
