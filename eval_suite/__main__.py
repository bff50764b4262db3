"""``python -m eval_suite`` is ``eval-suite``; where `run` calls it, its server of jobs does the work."""

import sys

from eval_suite.suite.warm import SERVE, run_from_server, serve

if sys.argv[1:2] == [SERVE]:
    serve(*sys.argv[2:])
elif (code := run_from_server(sys.argv)) is not None:
    sys.exit(code)

# Behind the above, which needs none of it.
from eval_suite.cli.main import main

sys.exit(main())
