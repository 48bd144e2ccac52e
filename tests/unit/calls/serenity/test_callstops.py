"""A call of a traced process that stops first: made once, and asked about once, whoever watches."""

from __future__ import annotations

import pytest

from ring3.calls.interpose import Call, Interposer
from ring3.calls.serenity.callstops import stopping
from ring3.proc.tracing import attach
from ring3.protocols import Instrument
from ring3.trace.inject import Injector, Tampering, parse_injection
from tests.unit.calls.serenity.guest import serenity_guest
from tests.unit.calls.stage import Stage


class Counting(Injector):
    """Counts how often it is asked."""

    asked = 0

    def meets(self, call: Call) -> Tampering | None:
        self.asked += 1
        return super().meets(call)


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("is_watched", [False, True])
def test_an_injector_is_asked_once(is_watched: bool, stops: bool) -> None:
    stage = Stage()
    guest, tracer = serenity_guest(stage), serenity_guest(stage)
    failures: list[object] = []
    interposer = Interposer(stage.system, lambda _hook, error: failures.append(error))
    injector = Counting(parse_injection("getppid:retval=77:when=1"))
    interposer.inject(injector)
    tracing = attach(tracer.p, guest.p)
    tracing.over, tracing.has_stopped, tracing.stops_at_call = stopping, True, stops
    guest.p.personality = guest.p.personality
    if is_watched:
        stage.system.instruments.append(Instrument())
    result = guest.trap("getppid")
    if stops:
        assert injector.asked == 0, "it is made only when it is let go on"
        guest.p.stopped_by = 0
        tracing.resumed.wake()
        coroutine, woken = guest.t.coroutine, True
        assert coroutine is not None
        with pytest.raises(StopIteration) as ended:
            coroutine.send(woken)
        result = ended.value.value
    assert (int(result), injector.asked, failures) == (77, 1, [])
