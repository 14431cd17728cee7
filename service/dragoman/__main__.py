"""`python -m dragoman` is `dragoman`."""

import os

# Before numpy is loaded: its products here are small, and it would start a thread for each processor of the host.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before gRPC is loaded: its core writes a line about whatever a stranger does wrong, past our log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from dragoman.cli.main import main

if __name__ == "__main__":
    main()
