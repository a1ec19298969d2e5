"""Running a control loop before the machine's other programs."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

logger = logging.getLogger(__name__)

# Of Linux's real-time priorities 1 to 99: before everything ordinary, after what drivers need.
PRIORITY = 10


@contextlib.contextmanager
def before_others() -> Iterator[bool]:
    """All threads of this process run when they can, whatever else the machine does (SCHED_RR).

    All, because one that holds the interpreter's lock and waits for a processor would hold up the
    others. Gives whether the system permits it (Linux; root, CAP_SYS_NICE or an rtprio limit);
    where it does not, says so and changes nothing. Processes that are started meanwhile inherit it.
    """
    try:
        former = os.sched_getscheduler(0)
        _set_all(os.SCHED_RR, PRIORITY)
    except (AttributeError, OSError) as error:
        logger.warning(
            "the control loop runs among other programs (%s); on Linux as root, or with `rtprio "
            "%d` for the user in /etc/security/limits.conf, it runs before them",
            error,
            PRIORITY,
        )
        yield False
        return
    try:
        yield True
    finally:
        _set_all(former, 0)


def _set_all(policy: int, priority: int) -> None:
    for thread in threading.enumerate():
        # A thread may end meanwhile.
        with contextlib.suppress(ProcessLookupError):
            if thread.native_id is not None:
                os.sched_setscheduler(thread.native_id, policy, os.sched_param(priority))
