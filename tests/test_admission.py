"""When each request is sent: ranks, learned and configured numbers of slots. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kimi_ui.core.admission import FORGET_NS, Admission, Line, Rank, Request, whose

S = 1_000_000_000
LEARN = Line("http://ollama", "m")


@dataclass
class Server:
    """A server with ``slots`` on a virtual clock: a request takes ``prompt_s``, then ``answer_s`` from its slot."""

    slots: int
    prompt_s: float = 1
    answer_s: float = 9
    admission: Admission = field(default_factory=Admission)
    now_s: float = 0
    with_server: list[Request] = field(default_factory=list)  # sent, in order
    due: list[tuple[float, str, Request]] = field(default_factory=list)
    starts: dict[Request, float] = field(default_factory=dict)
    most: int = 0  # requests with the server at a time

    def send(self, *requests: Request) -> None:
        for request in requests:
            self.admission.join(request)
        self._admit()

    def _admit(self) -> None:
        self.with_server += self.admission.admit(round(self.now_s * S))
        self.most = max(self.most, len(self.with_server))
        for request in self.with_server[: self.slots]:
            if request not in self.starts:
                self.starts[request] = self.now_s
                self.due += [
                    (self.now_s + self.prompt_s, "first", request),
                    (self.now_s + self.prompt_s + self.answer_s, "end", request),
                ]

    def run(self, until_s: float = float("inf")) -> None:
        while self.due:
            self.due.sort(key=lambda item: item[0])
            if self.due[0][0] > until_s:
                break
            self.now_s, what, request = self.due.pop(0)
            if what == "first":
                self.admission.first_token(request, round(self.now_s * S))
            else:
                self.with_server.remove(request)
                self.admission.leave(request, round(self.now_s * S))
            self._admit()


def plain(line: Line = LEARN, label: str = "Qwen") -> Request:
    return Request(line, Rank.PLAIN, label)


def heavy(n: int = 8, line: Line = LEARN) -> list[Request]:
    return [Request(line, Rank.TRAJECTORY, "Kimi heavy") for _ in range(n)]


def test_on_a_serial_server_a_plain_request_waits_for_one_running_request_at_most() -> None:
    server, others = Server(slots=1), heavy()
    first, second = plain(), plain()
    server.send(first, second, *others)
    server.run(until_s=45)
    third = plain()
    server.send(third)
    server.run()
    assert server.starts[first] == 0
    assert server.starts[second] == 10
    assert server.starts[third] == 50  # the request that ran as it came ended then
    assert max(server.starts.values()) == 100  # eleven requests of 10 s, and no pause between them


def test_a_server_with_four_slots_is_used_fully() -> None:
    server, trajectories = Server(slots=4), heavy(12)
    server.send(*trajectories)
    server.run()
    late = sorted(server.starts.values())[4:]
    assert server.most == 5  # one more, to find out that there are not five
    assert server.now_s <= 1 + 1 + 1 + 30  # three answers in a row, and a prompt's time for each slot that was found
    assert late == sorted(late)
    assert len(server.admission.running) == 0
    again = heavy(8)
    server.most = 0
    server.send(*again)
    assert len(server.with_server) == 4  # it is known by now


def test_a_lanes_configuration_overrides_the_learned_number() -> None:
    two = LEARN._replace(parallel=2)
    server = Server(slots=8)
    server.send(*(plain(two) for _ in range(2)), *heavy(4, two))
    server.run()
    assert server.most == 2


def test_an_aggregation_passes_trajectories_and_a_plain_request_passes_both() -> None:
    one = LEARN._replace(parallel=1)
    admission = Admission()
    running, (waiting,), aggregator, ask = plain(one), heavy(1, one), Request(one, Rank.AGGREGATOR, "heavy"), plain(one)
    for request in (running, waiting, aggregator, ask):
        admission.join(request)
        admission.admit(0)
    assert admission.waiting == [ask, aggregator, waiting]
    assert admission.before(waiting) == [running, ask, aggregator]
    admission.leave(running, 1)
    assert admission.admit(1) == [ask]


def test_every_request_of_a_chat_passes_those_of_a_benchmark() -> None:
    one = LEARN._replace(parallel=1)
    admission = Admission()
    bench = [Request(one, Rank.BENCHMARK, "bench") for _ in range(3)]
    (trajectory,), ask = heavy(1, one), plain(one)
    for request in (*bench, trajectory, ask):
        admission.join(request)
        admission.admit(0)
    assert admission.running == [bench[0]]
    assert admission.waiting == [ask, trajectory, *bench[1:]]


def test_models_do_not_wait_for_each_other() -> None:
    admission = Admission()
    for request in [*heavy(8), plain(LEARN._replace(model="other"))]:
        admission.join(request)
    assert {request.line.model for request in admission.admit(0)} == {"m", "other"}


@pytest.mark.parametrize(("idle_ns", "sent"), [(FORGET_NS, 1), (FORGET_NS + 1, 2)])
def test_the_learned_number_is_forgotten_after_a_long_pause(idle_ns: int, sent: int) -> None:
    server = Server(slots=1)
    server.send(*heavy(4))
    server.run()
    for request in heavy(4):
        server.admission.join(request)
    assert len(server.admission.admit(round(server.now_s * S) + idle_ns)) == sent


def test_a_cancelled_request_frees_its_place() -> None:
    one = LEARN._replace(parallel=1)
    admission = Admission()
    first, second, third = (plain(one) for _ in range(3))
    for request in (first, second, third):
        admission.join(request)
    assert admission.admit(0) == [first]
    admission.leave(second, 1)
    admission.leave(second, 1)
    admission.leave(first, 2)
    assert admission.admit(2) == [third]


def test_the_sentence_counts_the_requests_of_each_lane() -> None:
    assert whose([plain(), *heavy(3)]) == "Qwen, 3 of Kimi heavy"
