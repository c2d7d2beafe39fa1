"""`python -m harness.upstreams`: the upstreams as one process, until it is told to end."""

from harness.upstreams.process import main

if __name__ == "__main__":
    main()
