import errno
import fcntl
import threading
import time

from helmsight.training.file_lock import lock_file, lock_file_patiently


def test_a_locked_file_is_refused_until_it_is_closed(tmp_path):
    path = tmp_path / "lock"
    first = lock_file(path)
    assert first is not None
    assert lock_file(path) is None
    first.close()
    second = lock_file(path)
    assert second is not None
    second.close()


def test_a_file_system_without_locks_guards_nothing(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with lock_file(tmp_path / "lock") as lock:
        assert lock is not None
    with lock_file_patiently(tmp_path / "lock"):
        pass


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path):
    first = lock_file(tmp_path / "lock")
    order = []

    def wait():
        with lock_file_patiently(tmp_path / "lock"):
            order.append("second")

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.05)
    order.append("first")
    first.close()
    waiting.join(10.0)
    assert order == ["first", "second"]
