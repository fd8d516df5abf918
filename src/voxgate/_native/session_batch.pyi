from .event import VadEvent
from .session import VadSession

def step_sessions(sessions: list[VadSession]) -> list[tuple[VadSession, list[VadEvent] | BaseException]]: ...
