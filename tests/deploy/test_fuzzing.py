from fuzzing import Fuzzer, is_in_order
from serving import ServerThread


def test_malformed_and_hostile_messages_leave_the_server_in_order():
    with ServerThread() as server:
        fuzzer = Fuzzer(server.address)
        fuzzer.send(1000)
        assert is_in_order(server.address)
    assert fuzzer.outcomes["hung"] == 0
    assert fuzzer.outcomes["refused"] > 500
