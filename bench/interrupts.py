"""Interrupts a team of threads at random moments, with its workers asleep: none may hang it or lose work.

    python bench/interrupts.py -n 100000

Each interrupt takes some 5 ms, most of which the workers need to fall asleep. A hang ends the script with the
stack of every thread; work that was lost or done twice with an error.
"""

import argparse
import faulthandler
import random
import signal
import time
from types import FrameType

import numpy as np

from nybble.engine.executors.numba.team import Program, Team
from nybble.kernels.elementwise.add import bind_add

LONGEST_DELAY = 4e-4  # seconds; a run takes less, so that some complete
HANG = 30  # seconds


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=100_000, metavar="N", help="interrupts (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N", help="threads (%(default)s)")
    args = parser.parse_args()
    total, one = np.zeros((64, 16), np.float32), np.ones((64, 16), np.float32)
    call = bind_add(total, one, total, np.full(8, 64, np.int64))
    team = Team(Program([call], [True]), args.threads)
    team.run(0, 1)  # its kernels are loaded now
    total[:] = 0
    random_moments, n_complete, n_interrupted = random.Random(1), 0, 0
    signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    while n_interrupted < args.n:
        faulthandler.dump_traceback_later(HANG, exit=True)
        time.sleep(0.005)
        before = total[0, 0]
        try:
            signal.setitimer(signal.ITIMER_REAL, random_moments.uniform(1e-6, LONGEST_DELAY))
            team.run(0, 1)
            n_complete += 1
            while True:  # until the interrupt comes
                time.sleep(0.001)
        except KeyboardInterrupt:
            n_interrupted += 1
        team.finish()
        if not (total == total[0, 0]).all() or not before <= total[0, 0] <= before + 1:
            raise SystemExit(f"after {n_interrupted} interrupts work was lost or done twice: {total}")
        total[:] = 0
    faulthandler.cancel_dump_traceback_later()
    team.close()
    seconds = time.monotonic() - started
    print(f"{n_interrupted} interrupts in {seconds:.0f} s, {n_complete} after the run was complete: no hang")


if __name__ == "__main__":
    main()
