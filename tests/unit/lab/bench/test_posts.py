"""The requests of the clients name their paths in turn."""

from emostream_lab.bench import posts


def test_paths_and_bodies_are_taken_in_turn() -> None:
    clients = posts.Clients(8000, ["/one", "/two"], [b"1", b"2", b"3"], connections=0)
    clients.close()
    assert [request.split()[1] + request[-1:] for request in clients._requests] == [b"/one1", b"/two2", b"/one3"]
