"""What queueing theory says exactly, to check the simulation and to begin a search for a size."""

from __future__ import annotations

from math import exp


def erlang_c(n_servers: int, load: float) -> float:
    """The probability that a customer of M/M/n waits; `load`: arrivals a second times the mean service, in Erlang."""
    if not 0 <= load < n_servers:
        raise ValueError(f"expected a load of 0 to less than {n_servers} Erlang, got {load}")
    blocked = 1.0  # Erlang B, by its recursion
    for n in range(1, n_servers + 1):
        blocked = load * blocked / (n + load * blocked)
    share = load / n_servers
    return blocked / (1 - share * (1 - blocked))


def mmn_wait_s(n_servers: int, per_s: float, service_s: float) -> float:
    """The mean wait in M/M/n."""
    load = per_s * service_s
    return erlang_c(n_servers, load) * service_s / (n_servers - load)


def mg1_wait_s(per_s: float, service_s: float, service_square_s2: float) -> float:
    """The mean wait in M/G/1 (Pollaczek and Khinchine), from the means of the service and of its square."""
    return per_s * service_square_s2 / (2 * (1 - per_s * service_s))


def mean_batch(per_s: float, call_s: float) -> float:
    """Of one server that takes everything that waits, for a call of constant length: the arrivals of a call, or one
    when nobody came.
    """
    arrivals = per_s * call_s
    return arrivals + exp(-arrivals)


def most_items_per_s(max_items: int, fixed_s: float, item_s: float) -> float:
    """Of one replica with full batches."""
    return max_items / (fixed_s + item_s * max_items)
