"""The process behind the front door: joins the cluster, deploys the service if need be, and answers on a socket it was given.

`service.py` starts it, hands it its plan on standard input, and reads from standard output how it goes. It ends when
standard input does: its parent is gone then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from palimpsest_engine import PalimpsestError
from palimpsest_team.door import Door
from palimpsest_team.options import APPLICATION, NAMESPACE, Deployed

log = logging.getLogger("palimpsest.team")
_JOIN_SECONDS, _AGAIN_SECONDS = 60.0, 0.5
_LOOK_SECONDS = 2.0
LOST = 75  # exit code: the cluster does not answer any more


@dataclass(frozen=True, slots=True)
class Plan:
    """The orders of a door process. descriptor: of the socket to answer on. address: of the cluster.

    start: "anew" in a cluster of our own; "missing" leaves a service that is there as it is; "never" waits for one.
    """

    deployed: Deployed
    door: Door
    descriptor: int
    address: str
    certificate: str | None = None
    key: str | None = None
    start: Literal["anew", "missing", "never"] = "anew"


class WithoutTexts(logging.Formatter):
    """Formats errors as their kind and where they were raised: their texts may quote a user's code."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name is the library's
        """Return the frames and the kind."""
        return "".join([*traceback.format_tb(ei[2]), ei[0].__name__])


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line on standard output: it is ready, or it failed and why."""

    ready: bool = False
    failed: str = ""


def main() -> None:
    """Run until the parent says stop, or is gone."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    said = logging.StreamHandler(sys.stderr)
    said.setFormatter(WithoutTexts("%(asctime)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[said])
    logging.getLogger("palimpsest.team.access").setLevel(logging.INFO)
    try:
        asyncio.run(_run(plan))
    except PalimpsestError as error:
        _say(Said(failed=str(error)))
    except Exception as error:
        log.exception("the front door failed")
        _say(Said(failed=f"The front door failed: {type(error).__name__}: {error}"))
    # Ray's threads may be waiting for a cluster that is gone; nothing of ours is left to be done.
    sys.stderr.flush()
    os._exit(0)


async def _run(plan: Plan) -> None:
    from palimpsest_api.certificate import context_of
    from palimpsest_team.backend import TeamBackend
    from palimpsest_team.door import application, serve
    from palimpsest_team.handle import ServeReplicas
    from palimpsest_team.metrics import TeamMetrics

    tls = context_of(Path(plan.certificate), Path(plan.key) if plan.key else None) if plan.certificate else None
    deployed = await asyncio.to_thread(_joined, plan)
    handle = await asyncio.to_thread(_handle, deployed, plan.start)
    metrics = TeamMetrics()
    app = application(TeamBackend(ServeReplicas(handle), plan.door.seconds, metrics), plan.door, metrics)
    threading.Thread(target=_obey, args=(deployed,), name="palimpsest-parent", daemon=True).start()
    watching = asyncio.create_task(_watch(metrics))
    taken = socket.socket(fileno=plan.descriptor)
    await serve(app, taken, tls, plan.door.drain_seconds, lambda: _say(Said(ready=True)))
    watching.cancel()


def _joined(plan: Plan) -> Deployed:
    """Join the cluster. Returns what to deploy, fitted to what the cluster has."""
    import ray

    until = time.monotonic() + _JOIN_SECONDS
    while True:
        try:
            ray.init(address=plan.address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
            break
        except (ConnectionError, RuntimeError, ValueError) as error:
            if time.monotonic() > until:
                said = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise PalimpsestError(f"The Ray cluster at {plan.address} cannot be joined: {said}") from None
            time.sleep(_AGAIN_SECONDS)
    resources = ray.cluster_resources()
    deployed = fitted(plan.deployed, resources)
    wanted, there = deployed.gpus * deployed.replicas.least, resources.get("GPU", 0.0)
    if plan.start == "anew" and wanted > there:
        raise PalimpsestError(
            f"{deployed.replicas.least} replicas need {wanted:g} GPUs, and this machine has {there:g}: fewer --replicas, or "
            "--address of a cluster that has more."
        )
    return deployed


def fitted(deployed: Deployed, resources: dict[str, float]) -> Deployed:
    """Reserve a GPU for each replica if the cluster has any, else a share of its CPUs."""
    if deployed.settings.endpoint is not None or deployed.gpus:
        return deployed
    if resources.get("GPU", 0) and deployed.settings.device != "cpu":
        return replace(deployed, gpus=1.0, cpus=0.0)
    cpus = max(0.1, min(deployed.cpus, resources.get("CPU", 1.0) / deployed.replicas.most))
    threads = deployed.settings.threads or max(1, int(cpus))
    return replace(deployed, cpus=round(cpus, 2), settings=replace(deployed.settings, threads=threads))


def _handle(deployed: Deployed, start: Literal["anew", "missing", "never"]) -> Any:
    """Return a handle of the service."""
    from ray import serve

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    while start != "anew":
        found = serve.status().applications.get(APPLICATION)
        if found is not None and (start == "missing" or found.status == "RUNNING"):
            return serve.get_app_handle(APPLICATION)
        if start == "missing":
            break
        time.sleep(_LOOK_SECONDS)
    return _deploy(deployed)


def _deploy(deployed: Deployed) -> Any:
    """Start the service, or replace its replicas, a few at a time. Raises PalimpsestError with the replica's own reason."""
    from ray import serve

    from palimpsest_team.application import application

    serve.start(proxy_location="Disabled")
    try:
        return serve.run(application(deployed), name=APPLICATION, route_prefix=None)
    except RuntimeError:
        raise PalimpsestError(f"The replicas do not start: {_reason()}") from None


def _reason() -> str:
    from ray import serve

    found = serve.status().applications[APPLICATION]
    said = [each.message for each in found.deployments.values()] + [found.message]
    lines = [line.strip() for text in said for line in text.splitlines()]
    told = [line.partition("RuntimeError: ")[2] for line in lines if "RuntimeError: " in line]
    return told[-1] if told else (lines[0] if lines else "nobody knows why")


def _obey(deployed: Deployed) -> None:
    """Do what the parent says on standard input; when that ends, so does this process."""
    for line in sys.stdin.buffer:
        if line.strip() == b"update":
            try:
                _deploy(deployed)
            except Exception as error:
                log.error("the update failed: %s", error)
    os.kill(os.getpid(), signal.SIGTERM)


async def _watch(metrics: Any) -> None:
    """Keep the figures of the replicas."""
    while True:
        try:
            states = await asyncio.to_thread(_states)
        except Exception as error:
            log.warning("the cluster's head does not answer: %s", type(error).__name__)
        else:
            metrics.replicas(states)
        await asyncio.sleep(_LOOK_SECONDS)


def _states() -> dict[str, int]:
    from ray import serve

    states: Counter[str] = Counter()
    for each in serve.status().applications[APPLICATION].deployments.values():
        for state, count in each.replica_states.items():
            name = str(getattr(state, "value", state)).lower()
            states[name if name in ("running", "stopping") else "starting"] += count
    return dict(states)


def _say(said: Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
