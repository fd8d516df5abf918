"""The model as a Ray Serve application: what runs on the cluster, and the file that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from voxgate.errors import ConfigError

__all__ = ["Deployment", "build", "deploy", "parse_replicas", "serve_config"]

DEPLOYMENT: Final = "Model"
_HEALTH_EVERY_S: Final = 5.0
_HEALTH_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """What runs where. Raises ConfigError for numbers out of range."""

    model: str
    """As for `load_model`, like `options`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    app: str = "voxgate"
    min_replicas: int = 1
    max_replicas: int = 1
    gpus: float = 0.0
    """Of each replica, like `cpus`."""
    cpus: float = 1.0
    calls: int = 2
    """How many calls a replica takes at once."""
    hang_timeout_s: float = 120.0
    drain_s: float = 60.0
    """How long a replica that is replaced may finish its calls."""
    start_anyway: bool = False
    working_dir: str | None = None
    """A folder, or an address of an archive, with the model's code; None: it is installed on the cluster."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ConfigError(
                f"expected at least 1 replica, and no more at first than at most, not"
                f" {self.min_replicas}..{self.max_replicas}"
            )

    @property
    def arguments(self) -> dict[str, Any]:
        """Of `Replica`."""
        return {
            "spec": self.model,
            "options": dict(self.options),
            "calls": self.calls,
            "hang_timeout_s": self.hang_timeout_s,
            "start_anyway": self.start_anyway,
        }

    @property
    def serve_options(self) -> dict[str, Any]:
        """Of the Ray Serve deployment, in the words of its configuration file."""
        options: dict[str, Any] = {
            "max_ongoing_requests": self.calls,
            "health_check_period_s": _HEALTH_EVERY_S,
            "health_check_timeout_s": _HEALTH_TIMEOUT_S,
            "graceful_shutdown_timeout_s": self.drain_s,
            "ray_actor_options": {"num_cpus": self.cpus, "num_gpus": self.gpus},
            "request_router_config": {"request_router_class": "voxgate.inference.engine.ray.router.StateRouter"},
        }
        if self.min_replicas == self.max_replicas:
            options["num_replicas"] = self.min_replicas
        else:
            options["autoscaling_config"] = {
                "min_replicas": self.min_replicas,
                "max_replicas": self.max_replicas,
                # A replica takes `calls` at once, so that it never waits for the next one; half of them keep it busy.
                "target_ongoing_requests": max(0.5, self.calls / 2),
                "upscale_delay_s": 5.0,
                "downscale_delay_s": 120.0,
            }
        return options


def parse_replicas(text: str) -> tuple[int, int]:
    """``3`` or ``1..8``: the least and the greatest number. Raises ConfigError."""
    least, dots, most = text.partition("..")
    try:
        return int(least), int(most) if dots else int(least)
    except ValueError:
        raise ConfigError(f"expected a number of replicas such as 2, or a range such as 1..8, not {text!r}") from None


def build(arguments: Mapping[str, Any]) -> Any:
    """The application of a Serve configuration file, in which `arguments` are those of `Replica`."""
    from ray import serve

    from voxgate.inference.engine.ray.replica import Replica

    deployment: Any = serve.deployment(Replica, name=DEPLOYMENT)
    return deployment.bind(**arguments)


def deploy(deployment: Deployment, address: str) -> None:
    """Deploys the application, or updates it, replica after replica. Blocks until the replicas are ready.

    Raises ConfigError when Ray is not installed, the cluster cannot be reached, or the replicas do not start.
    """
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise ConfigError(f"cannot import Ray ({error}): pip install 'voxgate[ray]'") from None

    from voxgate.inference.engine.ray.replica import Replica

    if address == "local":
        raise ConfigError("--address: expected the address of a running cluster, not 'local'")
    environment = {} if deployment.working_dir is None else {"working_dir": deployment.working_dir}
    try:
        ray.init(address=address, runtime_env=environment, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"cannot join the Ray cluster at {address!r}: {error}") from error
    try:
        serve.start(proxy_location="Disabled")  # Servers call by handle; nothing listens for HTTP.
        made: Any = serve.deployment(Replica, name=DEPLOYMENT, **deployment.serve_options)
        serve.run(made.bind(**deployment.arguments), name=deployment.app, route_prefix=None)
    except RuntimeError as error:
        raise ConfigError(f"the application {deployment.app!r} did not start: {error}") from error
    finally:
        ray.shutdown()


def serve_config(deployment: Deployment) -> dict[str, Any]:
    """The contents of a Ray Serve configuration file: for `serve deploy`, or `serveConfigV2` of a `RayService`."""
    application: dict[str, Any] = {
        "name": deployment.app,
        "route_prefix": None,
        "import_path": f"{__name__}:build",
        "args": deployment.arguments,
        "deployments": [{"name": DEPLOYMENT, **deployment.serve_options}],
    }
    if deployment.working_dir is not None:
        application["runtime_env"] = {"working_dir": deployment.working_dir}
    return {"proxy_location": "Disabled", "applications": [application]}
