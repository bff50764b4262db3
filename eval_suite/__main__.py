"""``python -m eval_suite`` is ``eval-suite``."""

import sys

from eval_suite.cli.main import main

sys.exit(main())
