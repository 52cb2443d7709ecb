import os
import signal
import sys

from .errors import TrainError


def main(arguments: list[str] | None = None) -> int:
    from .options import parse
    options = parse(arguments)
    try:
        from .train import Run
        from .workers import Workers
        workers = Workers(options.device)
        Run(options, workers).train()
        workers.close()
    except TrainError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0": # what fails, fails in all processes of a machine
            print(f"train: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL) # ends without a trace through every layer
    sys.exit(main())
