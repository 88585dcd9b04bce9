"""The roster: the lanes, what serves each of them and why, and why nothing better does.

Lanes come from the lanes file if there is one, otherwise from the presets, where each lane falls back to the embedded
stand-in separately; a lanes file may name shipped lanes, which are served in the same way. ``refresh`` picks up changes
of the lanes file, of ``.env`` and of Ollama without a restart. It replaces the whole state at once, so a reader in any
thread sees either the old state or the new one, and a running turn keeps its provider. A lanes file with a mistake
leaves the lanes unchanged; the mistake is in ``problem``.

No call blocks for longer than reading a file: a thread queries Ollama, for at most ``PROBE_TIMEOUT_S``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..config import ConfigError, Settings, default_lanes_path
from ..core.lane import LaneSpec, Price
from ..lanes_file import read_lanes_file
from . import presets, registry
from .base import Check, LaneGone, Parts, Provider
from .embedded.backend import EmbeddedBackend
from .embedded.backends import Backends
from .embedded.lane import EmbeddedLane
from .images import takes_images
from .ollama.provider import OllamaState, probe
from .ollama.reloads import reloads

PROBE_TIMEOUT_S = 0.5
PROBE_EVERY_S = 5.0


@dataclass(frozen=True)
class Serving:
    """What serves a lane. ``via`` names it in a word or two, ``why`` gives the reason in a sentence.

    ``why_not_better`` is a sentence too, empty where nothing better is known; ``how_to_get_real`` is then the exact
    line to set or run.
    """

    lane: str
    label: str
    via: str
    model: str
    why: str
    why_not_better: str = ""
    how_to_get_real: str = ""
    is_stand_in: bool = False
    price: Price | None = None


@dataclass(frozen=True)
class _Source:
    """What the current lanes were built from; a refresh with an equal source changes nothing."""

    env: Mapping[str, str]
    file: tuple[str, int, int] | None  # path, mtime in ns, size
    ollama: OllamaState | None


class _Served(NamedTuple):
    """A provider and what it was built from: the lane as configured and the parts."""

    provider: Provider
    configured: LaneSpec
    parts: Parts


@dataclass(frozen=True)
class _State:
    source: _Source
    specs: tuple[LaneSpec, ...] = ()
    servings: tuple[Serving, ...] = ()
    served: Mapping[str, _Served] = field(default_factory=dict)


class Roster:
    """Lanes and their providers.

    Every refresh calls ``environment`` (``config.read_environment`` in a running app); by default it is the environment
    in ``settings``. Raises ``ConfigError`` if the lanes file has a mistake at the start.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Callable[[], Mapping[str, str]] | None = None,
        backend: EmbeddedBackend | None = None,
    ) -> None:
        self.settings = settings
        self.backends = Backends(backend)
        self.problem = ""  # the current mistake in the lanes file or .env, one sentence; empty if there is none
        self._environment = environment or (lambda: settings.env)
        self._lock = threading.RLock()
        self._file_specs: tuple[tuple[str, int, int], list[LaneSpec]] | None = None
        self._ollama = OllamaState(presets.ollama_url(settings.env))
        self._probe: threading.Thread | None = None
        self._probed_at = float("-inf")
        self._retired: list[_Served] = []
        self._state = _State(_Source({}, None, None))
        self._take_up(first=True)
        self._probe_if_due()

    # -- what the engine and the page read, from any thread

    @property
    def specs(self) -> tuple[LaneSpec, ...]:
        return self._state.specs

    @property
    def servings(self) -> tuple[Serving, ...]:
        return self._state.servings

    @property
    def served_specs(self) -> list[tuple[LaneSpec, Serving]]:
        """``specs``, each with its serving: both of one moment, though the lanes may be changed meanwhile."""
        state = self._state
        return list(zip(state.specs, state.servings, strict=True))

    def serving(self, lane: str) -> Serving:
        return next(serving for serving in self._state.servings if serving.lane == lane)

    def provider(self, lane: str) -> Provider:
        """The lane's current provider; the last one of a lane that was just removed. Raises ``KeyError``."""
        served = self._state.served.get(lane)
        if served is None:
            with self._lock:
                served = next((old for old in reversed(self._retired) if old.provider.spec.id == lane), None)
        if served is None:
            raise KeyError(lane)
        return served.provider

    def puller(self, lane: str) -> Provider | None:
        """The provider that can fetch what the lane lacks: its own, that of the lane it is built from, or that of the
        real model for a stand-in. None if none can."""
        state = self._state
        spec = next((spec for spec in state.specs if spec.id == lane), None)
        if spec is None:
            return None
        if spec.of:
            return self.puller(spec.of)
        if spec.can_pull:
            return state.served[lane].provider
        if lane == presets.QWEN and spec.stand_in_for and self._ollama.running:
            return registry.make(presets.qwen_on_ollama(self._ollama.url), Parts())
        return None

    @property
    def lanes_path(self) -> Path | None:
        """The lanes file in use; None if the presets are."""
        return self.lanes_target if self.settings.lanes or self.lanes_target.is_file() else None

    @property
    def lanes_target(self) -> Path:
        """The lanes file in use, or the one that would be."""
        return self.settings.lanes or default_lanes_path()

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the current lanes. It holds keys: look up names, never show a value."""
        return self._state.source.env

    @property
    def ollama(self) -> OllamaState:
        """What Ollama answered last."""
        return self._ollama

    # -- changes

    def refresh(self) -> None:
        """Pick up changes. Cheap when there are none; a mistake is not raised but put into ``problem``."""
        self._take_up()
        self._probe_if_due()

    def look_again(self) -> None:
        """Query Ollama now and apply what it says, because a model was pulled. Blocks as long as the query takes."""
        self.settle()
        with self._lock:
            self._probed_at = float("-inf")
        self.refresh()
        self.settle()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until a running query of Ollama has ended, so that the next read sees its result.

        The wait is at most ``timeout_s``, which is by default as long as the query itself may take.
        """
        thread = self._probe
        if thread:
            thread.join(PROBE_TIMEOUT_S + 0.2 if timeout_s is None else timeout_s)

    def warm_up(self) -> None:
        """Start in the background what the lanes need and what takes long to start."""
        for served in self._state.served.values():
            served.provider.warm_up()

    async def check(self, lane: str, probe: bool = False, unloaded: Collection[tuple[str, str]] = ()) -> Check:
        """Check a lane for ``doctor``, on the caller's event loop and with a connection of its own.

        ``unloaded``: models that were unloaded to load another, in pairs. Raises ``LaneGone``, as do
        ``models_of`` and ``takes_images``.
        """
        async with self._separate(lane) as provider:
            check = await provider.check(probe)
        return replace(check, warnings=(*check.warnings, *reloads(self.specs, unloaded).get(lane, ())))

    async def models_of(self, lane: str) -> list[str]:
        """The models that the lane's provider lists, over a connection of its own. Raises ``ProviderError``."""
        async with self._separate(lane) as provider:
            return await provider.models()

    async def models_for(self, spec: LaneSpec) -> list[str]:
        """The same for a lane that is not one of the roster's yet."""
        (served,) = _make_all([spec], self._state.source.env, self.backends, {}).values()
        try:
            return await served.provider.models()
        finally:
            await served.provider.aclose()

    async def takes_images(self, lane: str, model: str = "") -> bool | None:
        """Whether the lane's model, or ``model`` of its provider, takes images; None: the provider does not say."""
        async with self._separate(lane) as provider:
            return await takes_images(provider, model)

    @asynccontextmanager
    async def _separate(self, lane: str) -> AsyncIterator[Provider]:
        """A new provider for a lane on the caller's event loop: loops must not share a client. Raises
        ``LaneGone``."""
        state = self._state
        specs = {spec.id: spec for spec in state.specs}
        if lane not in specs:
            raise LaneGone(lane)
        wanted = [specs[lane], *(spec for spec in state.specs if spec.id == specs[lane].of)]
        made = _make_all(wanted, state.source.env, self.backends, {})
        try:
            yield made[lane].provider
        finally:
            for served in made.values():
                await served.provider.aclose()

    async def close_retired(self) -> None:
        """Close replaced providers, on the loop that used them and while nothing runs there; see ``provider``."""
        with self._lock:
            gone = [old for old in self._retired if old.provider.spec.id not in self._state.served]
            kept = {old.provider.spec.id: old for old in gone}  # the last of each
            closing = [old for old in self._retired if kept.get(old.provider.spec.id) is not old]
            self._retired = list(kept.values())
        for old in closing:
            await old.provider.aclose()

    async def aclose(self) -> None:
        """Close all providers, on the loop that used them, and the embedded models."""
        with self._lock:
            served = [*self._retired, *self._state.served.values()]
            self._retired = []
        for item in served:
            await item.provider.aclose()
        self.backends.close()

    # -- inside

    def _take_up(self, first: bool = False) -> None:
        with self._lock:
            try:
                env = dict(self._environment())
                file = _signature(self.lanes_path)
                configured = self._read(file)
            except ConfigError as error:
                if first:
                    raise
                self.problem = str(error)
                return
            self.problem = ""
            source = _Source(env, file, self._ollama if any(spec.is_shipped for spec in configured) else None)
            if source == self._state.source:
                return
            specs, servings = _lanes(configured, env, self._ollama)
            served = _make_all(specs, env, self.backends, self._state.served)
            specs = [served[spec.id].provider.spec for spec in specs]  # the providers fill in what they send by default
            self._retired += [old for lane, old in self._state.served.items() if served.get(lane) is not old]
            by_id = {spec.id: spec for spec in specs}
            servings = [_with_model(serving, by_id) for serving in servings]
            self._state = _State(source, tuple(specs), tuple(servings), served)
            self.backends.keep(spec.own for spec in specs if isinstance(spec, EmbeddedLane))

    def _read(self, file: tuple[str, int, int] | None) -> list[LaneSpec]:
        """The lanes of the file, which is read again only if it has changed; without one, the shipped lanes."""
        if file is None:
            return [presets.ShippedLane(lane) for lane in presets.SHIPPED]
        if self._file_specs is None or self._file_specs[0] != file:
            self._file_specs = (file, read_lanes_file(file[0], registry.lane_classes()))
        return list(self._file_specs[1])

    def _probe_if_due(self) -> None:
        """Query Ollama in the background, at most every ``PROBE_EVERY_S``; only shipped lanes depend on the answer."""
        with self._lock:
            running = self._probe is not None and self._probe.is_alive()
            if running or self._state.source.ollama is None or time.monotonic() - self._probed_at < PROBE_EVERY_S:
                return
            self._probed_at = time.monotonic()
            url = presets.ollama_url(self._state.source.env)
            self._probe = threading.Thread(target=self._probe_ollama, args=(url,), name="ollama-probe", daemon=True)
            self._probe.start()

    def _probe_ollama(self, url: str) -> None:
        self._ollama = probe(url, PROBE_TIMEOUT_S)
        self._take_up()


def _make_all(
    specs: Sequence[LaneSpec], env: Mapping[str, str], backends: Backends, keep: Mapping[str, _Served]
) -> dict[str, _Served]:
    """A provider for each lane, in order; the one in ``keep`` if a new one would be the same."""
    made: dict[str, _Served] = {}
    for spec in sorted(specs, key=lambda spec: bool(spec.of)):  # a lane that is built from another comes after it
        parts = Parts(
            key=env.get(spec.api_key_env, "") if spec.api_key_env else "",
            of=made[spec.of].provider if spec.of else None,
            backends=backends,
        )
        old = keep.get(spec.id)
        if old and (old.configured, old.parts) == (spec, parts):
            made[spec.id] = old
        else:
            made[spec.id] = _Served(registry.make(spec, parts), spec, parts)
    return {spec.id: made[spec.id] for spec in specs}


def _signature(path: Path | None) -> tuple[str, int, int] | None:
    if path is None:
        return None
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(
            f"The lanes file {path} is gone ({error.strerror}); put it back or start without it."
        ) from None
    return str(path), stat.st_mtime_ns, stat.st_size


def _lanes(
    configured: Sequence[LaneSpec], env: Mapping[str, str], ollama: OllamaState
) -> tuple[list[LaneSpec], list[Serving]]:
    """The lanes, with the shipped ones among them served by the best that is available, and what serves each."""
    made = {spec.id: (spec, _configured(spec, env)) for spec in configured if not spec.is_shipped}
    shipped = {spec.id for spec in configured if spec.is_shipped}
    if presets.KIMI in shipped:
        made[presets.KIMI] = _kimi(env, ollama)
    if presets.QWEN in shipped:
        made[presets.QWEN] = _qwen(ollama)
    if presets.HEAVY in shipped:
        made[presets.HEAVY] = _heavy(*made[presets.KIMI])
    chosen = [made[spec.id] for spec in configured]
    return [spec for spec, _ in chosen], [serving for _, serving in chosen]


def _kimi(env: Mapping[str, str], ollama: OllamaState) -> tuple[LaneSpec, Serving]:
    gateway = presets.first_gateway(env)
    cloud_model = presets.kimi_in_cloud(ollama.models) if ollama.running else ""
    names = ", ".join(gateway.key_name for gateway in presets.GATEWAYS)
    if gateway:
        kimi = presets.kimi_at(gateway)
        why, why_not = f"{gateway.key_name} is set, so {gateway.name} serves it.", ""
    elif cloud_model:
        kimi = presets.kimi_on_ollama(ollama.url, cloud_model)
        why = f"Ollama at {ollama.url} lists {cloud_model}. It runs at ollama.com and needs `ollama signin`."
        why_not = ""
    else:
        kimi = presets.kimi_stand_in()
        why = f"A small local model stands in for {presets.KIMI_NAME}."
        why_not = f"None of {names} is set."
    via = gateway.name if gateway else "Ollama's cloud" if cloud_model else "embedded stand-in"
    return kimi, Serving(
        kimi.id, kimi.label, via, kimi.model, why, why_not, kimi.how_to_get_real, bool(kimi.stand_in_for)
    )


def _heavy(kimi: LaneSpec, kimi_served: Serving) -> tuple[LaneSpec, Serving]:
    heavy = presets.kimi_heavy(kimi)
    why = f"{heavy.width} trajectories of the lane {kimi.label} and one aggregation, by the same model."
    return heavy, replace(kimi_served, lane=heavy.id, label=heavy.label, via=f"heavy of {kimi_served.via}", why=why)


def _qwen(ollama: OllamaState) -> tuple[LaneSpec, Serving]:
    if ollama.running and presets.QWEN_MODEL in ollama.models:
        qwen, how = presets.qwen_on_ollama(ollama.url), ""
        why, why_not, via = f"Ollama at {ollama.url} has {presets.QWEN_MODEL}.", "", "Ollama"
    else:
        how = f"ollama pull {presets.QWEN_MODEL}"
        why_not = f"Ollama at {ollama.url} runs but has no {presets.QWEN_MODEL}."
        if not ollama.running:
            how = f"ollama serve & {how}"
            why_not = f"No Ollama answers at {ollama.url}."
        qwen = presets.qwen_stand_in(how)
        why, via = f"A small local model stands in for {presets.QWEN_NAME}.", "embedded stand-in"
    return qwen, Serving(qwen.id, qwen.label, via, qwen.model, why, why_not, how, bool(qwen.stand_in_for))


def _with_model(serving: Serving, specs: Mapping[str, LaneSpec]) -> Serving:
    """``serving`` with its model and price. Heavy has those of the lane it is built from, ``width`` times."""
    spec = specs[serving.lane]
    inner = specs.get(spec.of, spec)
    model = f"{spec.width} × {inner.model}" if spec.of else spec.model
    return replace(serving, model=model, price=inner.price)


def _configured(spec: LaneSpec, env: Mapping[str, str]) -> Serving:
    """A lane of the lanes file is served as the file says, or not at all."""
    serving = Serving(spec.id, spec.label, spec.via, spec.model, "The lanes file says so.")
    if spec.needs_key and spec.api_key_env and not env.get(spec.api_key_env, "").strip():
        line = f"{spec.api_key_env}=your-key"
        return replace(serving, why_not_better=f"{spec.api_key_env} is not set.", how_to_get_real=line)
    return serving
