import logging
import os
import threading

import pytest

from helmsight.deploy.scheduling import before_others

needs_scheduler = pytest.mark.skipif(
    not hasattr(os, "sched_setscheduler"), reason="this system has no real-time scheduling to ask"
)


def permitted():
    with before_others() as is_first:
        return is_first


@needs_scheduler
def test_all_threads_run_before_others_and_afterwards_as_before():
    if not permitted():
        pytest.skip("this user may not schedule in real time")
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    threads = [thread.native_id, threading.get_native_id()]
    try:
        before = [os.sched_getscheduler(one) for one in threads]
        with before_others():
            assert [os.sched_getscheduler(one) for one in threads] == [os.SCHED_RR] * 2
        assert [os.sched_getscheduler(one) for one in threads] == before
    finally:
        ended.set()
        thread.join()


@needs_scheduler
def test_without_permission_it_says_what_would_give_it_and_goes_on(monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with caplog.at_level(logging.WARNING), before_others() as is_first:
        assert not is_first
    assert "rtprio" in caplog.text
    assert os.sched_getscheduler(0) != os.SCHED_RR


@needs_scheduler
def test_an_error_in_the_loop_gives_the_threads_back():
    with pytest.raises(ZeroDivisionError), before_others():
        raise ZeroDivisionError
    assert os.sched_getscheduler(0) != os.SCHED_RR
