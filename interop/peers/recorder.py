"""Messages of one subscription in the order of their arrival."""

import json
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    subject: str
    """In dotted form, on either transport."""
    data: bytes
    at: float
    """`time.monotonic()` at arrival."""

    def json(self):
        return json.loads(self.data)


class Recorder:
    def __init__(self):
        self._messages = []
        self._changed = threading.Condition()

    def add(self, subject, data):
        with self._changed:
            self._messages.append(Message(subject.replace("/", "."), data, time.monotonic()))
            self._changed.notify_all()

    def messages(self, after=0.0):
        """What has arrived, later than `after`."""
        with self._changed:
            return [m for m in self._messages if m.at > after]

    def wait(self, predicate, limit, what, after=0.0):
        """The first message later than `after` whose JSON satisfies `predicate`."""
        deadline = time.monotonic() + limit
        with self._changed:
            while True:
                for message in self._messages:
                    if message.at > after and predicate(message.json()):
                        return message
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    last = self._messages[-1].data[:300] if self._messages else None
                    raise AssertionError(
                        f"{what}: not within {limit} s; {len(self._messages)} messages, the last: {last!r}"
                    )
                self._changed.wait(remaining)
