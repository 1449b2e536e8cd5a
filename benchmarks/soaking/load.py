"""The load: clients that ask, an operator who changes targets each second, and the memory meanwhile."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from guard import reference
from serving.launch import Server

KEY = "benchmark-key"
POOL = 40  # targets at most at once
TEMPERATURES = (0.0, 1.0)
Clock = Callable[[], float]
"""Seconds since the load began."""


@dataclass
class Order:
    """A string that must not be said, while its target is known to be in force."""

    target_id: str
    string: str
    since: float  # the answer that acknowledged it has come
    until: float = math.inf  # its removal is sent


@dataclass
class Stream:
    """One streamed answer."""

    value: str  # what the right answer holds
    begun: float
    ended: float = 0.0
    text: str = ""
    fault: str | None = None  # why it counts as dropped


@dataclass
class Watch:
    """What is recorded while the server runs; times in seconds since the start of the load."""

    streams: list[Stream] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)  # how long each took for the client
    enforced: list[float] = field(default_factory=list)  # and by the server's word
    failed: list[str] = field(default_factory=list)  # changes that were refused, and how
    memory: list[tuple[float, dict[str, float], int]] = field(default_factory=list)  # MB by process, running
    running: int = 0


async def load(server: Server, streams: int, seconds: float, *, targets: bool = True) -> Watch:
    """What is seen while clients and operator do their work; ends when the last stream has ended."""
    watch, started = Watch(), time.perf_counter()
    # A connection each: one that is kept may be closed by the server just when it is used again.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits) as client:

        def now() -> float:
            return time.perf_counter() - started

        ask = [_ask(client, watch, now, seconds, random.Random(number)) for number in range(streams)]
        change = [_change(client, watch, now, seconds, random.Random(-1))] if targets else []
        sample = asyncio.create_task(_sample(server, watch, now))
        await asyncio.gather(*change, *ask)
        sample.cancel()
    return watch


async def _ask(
    client: httpx.AsyncClient, watch: Watch, now: Clock, seconds: float, rng: random.Random
) -> None:
    """One client, asking until the time is up; three questions of four are about people to forget."""
    world = reference.nano()
    await asyncio.sleep(rng.random())
    while now() < seconds:
        row = rng.choice(world.forget if rng.random() < 0.75 else world.retain)
        stream = Stream(row.value, now())
        watch.streams.append(stream)
        watch.running += 1
        asked = {
            "model": "toy",
            "messages": [{"role": "user", "content": rng.choice(row.questions)}],
            "stream": True,
            # No seed: with one, vLLM 0.32's CPU engine dies of the first prompt that it reads in chunks.
            "temperature": rng.choice(TEMPERATURES),
            "max_tokens": 64,
        }
        try:
            stream.fault = await _read(client, stream, asked)
        except httpx.HTTPError as error:
            stream.fault = type(error).__name__
        stream.ended = now()
        watch.running -= 1


async def _read(client: httpx.AsyncClient, stream: Stream, asked: dict[str, Any]) -> str | None:
    """Reads a stream to its end; says what it lacks."""
    ended = done = False
    async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
        if response.status_code != 200:
            return f"status {response.status_code}"
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                done = True
            elif line.startswith("data: "):
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    return "error in the stream"
                for choice in chunk["choices"]:
                    stream.text += choice["delta"].get("content") or ""
                    ended = ended or choice["finish_reason"] is not None
    return None if ended and done else "no finish reason" if not ended else "no [DONE]"


async def _change(
    client: httpx.AsyncClient, watch: Watch, now: Clock, seconds: float, rng: random.Random
) -> None:
    """Adds, replaces or removes a target each second, whether or not the last change is enforced yet."""
    world = reference.nano()
    strings = sorted({row.value for row in world.forget} | set(world.forget_people))
    held: dict[str, Order] = {}  # those that no change is under way for
    changes: list[asyncio.Task[None]] = []
    while now() < seconds:
        begun = now()
        ways = ["POST", "POST", "PUT"] if len(held) < POOL / 2 else ["POST", "PUT", "DELETE"]
        way = rng.choice(ways) if held else "POST"
        way = "DELETE" if len(held) >= POOL else way
        target_id = f"soak-{len(changes)}" if way == "POST" else rng.choice(sorted(held))
        if target_id in held:
            held.pop(target_id).until = begun
        string = rng.choice(strings)
        kind = {"name": string} if string in world.people else {"kind": "text", "phrases": [string]}
        body = {"id": target_id, "action": "restrict", "always_on": True} | kind
        changes.append(asyncio.create_task(_send(client, watch, now, held, way, body, string)))
        await asyncio.sleep(max(0.0, begun + 1 - now()))
    await asyncio.gather(*changes)


async def _send(
    client: httpx.AsyncClient,
    watch: Watch,
    now: Clock,
    held: dict[str, Order],
    way: str,
    body: dict[str, Any],
    string: str,
) -> None:
    """One change; what it puts into force is held from the moment of its answer on."""
    begun, path = now(), "/lethe/v1/targets" + ("" if way == "POST" else f"/{body['id']}")
    content, headers = (None if way == "DELETE" else body), {"Authorization": f"Bearer {KEY}"}
    try:
        response = await client.request(way, path, json=content, headers=headers)
        fault = f"status {response.status_code}" if response.is_error else None
    except httpx.HTTPError as error:
        fault = type(error).__name__
    watch.changes.append(now() - begun)
    if fault:
        watch.failed.append(f"{way}: {fault}")
        return
    watch.enforced.append(response.json()["seconds"])
    if way != "DELETE":
        held[body["id"]] = Order(body["id"], string, now())
        watch.orders.append(held[body["id"]])


async def _sample(server: Server, watch: Watch, now: Clock) -> None:
    """Resident memory of the server's processes each second."""
    root = psutil.Process(server.process.pid)
    while True:
        found: dict[str, float] = {}
        for process in (root, *root.children(recursive=True)):
            try:
                name = "API server" if process == root else re.sub(r"^VLLM::", "", process.name())
                found[name] = found.get(name, 0.0) + process.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                continue
        watch.memory.append((now(), found, watch.running))
        await asyncio.sleep(1)
