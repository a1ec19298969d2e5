import contextlib
import tracemalloc

import hypothesis.extra.numpy as arrays
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from helmsight.deploy.wire import DTYPES, WireError, decode, encode

any_array = some.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=5, max_side=4, min_side=0))
)


def array_map(**changes):
    """An array as openpi's client writes it, with changes."""
    entries = {
        b"__ndarray__": True,
        b"data": np.zeros(3, np.float32).tobytes(),
        b"dtype": "<f4",
        b"shape": (3,),
    }
    return entries | {key.encode(): value for key, value in changes.items()}


def refusal(value):
    with pytest.raises(WireError) as caught:
        decode(msgpack.packb({"key": value}))
    return str(caught.value)


@given(any_array)
def test_an_array_comes_back_as_it_was(array):
    back = decode(encode({"array": array}))["array"]
    assert back.dtype == array.dtype and back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_an_array_is_written_as_openpi_reads_it():
    raw = msgpack.unpackb(encode({"a": np.array([[1.0, 2.0]], np.float32)}))
    assert raw == {
        "a": {
            b"__ndarray__": True,
            b"data": np.array([1.0, 2.0], np.float32).tobytes(),
            b"dtype": "<f4",
            b"shape": [1, 2],
        }
    }


def test_a_numpy_scalar_is_read_and_written():
    raw = {b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}
    assert decode(msgpack.packb({"a": raw}))["a"] == np.float32(0.5)
    assert msgpack.unpackb(encode({"a": np.float32(0.5)}))["a"] == raw


def test_plain_values_and_nested_maps_come_back():
    message = {"text": "a", "yes": True, "none": None, "list": [1, 2.5], "map": {"inner": {"x": 1}}}
    assert decode(encode(message)) == message


@given(some.binary(max_size=300))
def test_arbitrary_bytes_give_a_map_or_a_wire_error(data):
    with contextlib.suppress(WireError):
        assert isinstance(decode(data), dict)


@given(some.data())
def test_a_damaged_message_gives_a_map_or_a_wire_error(data):
    message = bytearray(encode({"a": np.zeros((2, 2), np.float32), "b": {"c": [1, "d"]}}))
    for _ in range(data.draw(some.integers(1, 4))):
        place = data.draw(some.integers(0, len(message) - 1))
        message[place] = data.draw(some.integers(0, 255))
    with contextlib.suppress(WireError):
        assert isinstance(decode(bytes(message)), dict)


@pytest.mark.parametrize(
    "dtype", ("|O", "|V8", "<c8", "<U4", ">f4", "<M8[s]", "O", 7, None, 999 * "x")
)
def test_an_array_of_anything_but_plain_numbers_is_refused(dtype):
    message = refusal(array_map(dtype=dtype))
    assert "'key' has dtype" in message and len(message) < 300


@pytest.mark.parametrize("shape", ((4,), (3, 2), (2**62, 4), (-3,), (1.5,), "3", (1,) * 6, (True,)))
def test_a_shape_that_does_not_fit_the_data_is_refused(shape):
    assert "'key'" in refusal(array_map(shape=shape))


def test_a_shape_that_no_array_can_have_is_refused():
    assert "no array can be [0, 4611686018427387904]" in refusal(
        array_map(data=b"", shape=(0, 2**62))
    )


def test_the_place_of_a_wrong_entry_is_named():
    assert "'key.inner'" in refusal({"inner": array_map(dtype="|O")})


def test_further_entries_of_an_array_are_refused():
    assert "exactly the entries" in refusal(array_map(pickle=b"cos"))


@pytest.mark.parametrize("number", ("1", None, b"1", [1]))
def test_a_scalar_that_is_no_number_is_refused(number):
    entries = {b"__npgeneric__": True, b"data": number, b"dtype": "<f4"}
    assert "must hold a number" in refusal(entries)


def test_a_scalar_out_of_its_type_s_range_is_refused():
    entries = {b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}
    assert "300 is no uint8" in refusal(entries)


@pytest.mark.parametrize("value", (b"bytes", msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 0)))
def test_extension_types_and_loose_bytes_are_refused(value):
    assert "not allowed" in refusal(value)


def test_deep_nesting_is_refused():
    value = 1
    for _ in range(10):
        value = {"a": value}
    assert "nested deeper" in refusal(value)
    with pytest.raises(WireError, match="no msgpack map"):
        decode(b"\x91" * 5000)


def test_a_short_message_cannot_claim_much_memory():
    # Headers of lists within lists, each of 65535 entries that never come.
    message = b"\x81\xa1a" + b"\xdc\xff\xff" * 900
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(message)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("message", ([1], "text", 5, None, {b"bytes": 1}, {3: 1}))
def test_anything_but_a_map_with_text_keys_is_refused(message):
    with pytest.raises(WireError):
        decode(msgpack.packb(message))


@pytest.mark.parametrize("value", (np.array([None]), object(), {1, 2}, np.array(["a"])))
def test_what_the_format_has_no_room_for_is_not_sent(value):
    with pytest.raises(WireError, match="a message cannot hold"):
        encode({"a": value})
