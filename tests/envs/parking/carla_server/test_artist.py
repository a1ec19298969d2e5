import asyncio
import threading

import pytest

from helmsight.envs.parking.carla_server.artist import Artist


def drawing(scene):
    """Run `scene(artist, published)` in an event loop; what was published."""
    published = []

    async def play():
        artist = Artist(lambda stream, payload: published.append((stream, payload)))
        try:
            await scene(artist)
        finally:
            artist.close(lambda: None)

    asyncio.run(play())
    return published


def test_what_was_drawn_is_published_once_it_is_finished():
    async def scene(artist):
        artist.begin(lambda: [(3, b"a"), (4, b"b")])
        await artist.finished()

    assert drawing(scene) == [(3, b"a"), (4, b"b")]


def test_the_loop_goes_on_while_a_picture_is_drawn():
    may_end = threading.Event()

    async def scene(artist):
        artist.begin(lambda: [(3, b"a")] if may_end.wait(10.0) else [])
        await asyncio.sleep(0)
        may_end.set()  # would never be reached by a loop that draws itself
        await artist.finished()

    assert drawing(scene) == [(3, b"a")]


def test_an_error_in_drawing_is_raised_once():
    def broken():
        raise RuntimeError("no OpenGL")

    async def scene(artist):
        artist.begin(broken)
        with pytest.raises(RuntimeError, match="no OpenGL"):
            await artist.finished()
        await artist.finished()

    assert drawing(scene) == []


def test_everything_is_drawn_and_freed_in_one_thread():
    threads = []

    async def play():
        artist = Artist(lambda stream, payload: None)
        for _ in range(3):
            artist.begin(lambda: threads.append(threading.get_ident()) or [])
            await artist.finished()
        artist.close(lambda: threads.append(threading.get_ident()))

    asyncio.run(play())
    assert len(threads) == 4 and len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
