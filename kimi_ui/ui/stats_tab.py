"""The Stats tab: statistics of the lanes from the log, as tables and plots.

Nothing is computed before the tab is opened. Opening it, a filter or Refresh computes the figures (0.6 s of CPU for
100,000 attempts, 0.1 s if only the metric changed). Numbers, intervals and sentences come from ``stats``; this file
contains controls and wiring. The named endpoint ``/stats`` returns the same summary as plain values.

``private``: several people use this app, so visitors see only their own attempts. Otherwise, and for an admin, the
figures cover all attempts, but each prompt is shown only to its owner.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from threading import Lock
from typing import Any

import gradio as gr

from ..log.reader import LogReader
from ..stats import sample as samples
from ..stats.form import INCLUDES, KINDS, LENGTHS, PERIODS, STARTS, Form
from ..stats.heavy_worth import heavy_worth
from ..stats.sample import Filters, Sample
from ..stats.summary import BY_COLUMN, METRICS, as_dict, outweighed, splits
from ..stats.votes import votes
from ..web.visitor import scope_of, visitor_of
from . import stats_html, stats_plots
from .gradio_internals import take_any_value
from .stats_plots import Look

REPORTED_LABEL = "Published report (means over 5 prompts, tokens/s undefined)"
FIELDS = tuple(field.name for field in fields(Form))
N_POINTS = 2000
KEPT = 4  # number of cached samples (for different filters); each takes 10 MB for 100,000 attempts


def build(
    reader: LogReader,
    tab: gr.Tab,
    lanes: Callable[[], Sequence[str]],
    *,
    private: bool = False,
) -> None:
    """Fill ``tab``; call this inside it. ``lanes``: ids in the page's order, which determines the colours."""
    view = StatsView(reader, lanes, private)
    with gr.Column(elem_id="stats") as room:
        with gr.Accordion("Filters", open=False, elem_id="stats-filters"), gr.Row(elem_classes="st-filters"):
            controls = _controls()
        with gr.Row(elem_classes="st-filters-more"):
            controls.append(_includes())
            refresh = gr.Button("Refresh", size="sm", elem_id="stats-refresh")
        everything = gr.Button("Count everything in", size="sm", visible=False, elem_id="stats-everything")
        overview = _html("stats-overview")
        with gr.Row(elem_classes="st-metric"):
            metric = gr.Radio(
                [(metric.name, metric.column) for metric in METRICS],
                value="e2e_ms",
                show_label=False,
                container=False,
                elem_id="stats-metric",
            )
            reported = gr.Checkbox(value=False, label=REPORTED_LABEL, container=False, elem_id="stats-reported")
        paired = _html("stats-paired")
        with gr.Row(equal_height=True):
            distribution = _plot("Distribution")
            timeline = _plot("Timeline")
        with gr.Row(equal_height=True):
            split = _plot("Time split")
            tokens = _plot("Tokens against time")
            cost = _plot("Cost")
        voted = _html("stats-votes")
        recent = _html("stats-turns")
        downloads = _html("stats-downloads")

    shown = [overview, paired, voted, distribution, timeline, split, tokens, cost, recent, downloads, everything]
    settings = [metric, reported, *controls]
    quiet = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
    gr.on(
        [tab.select, refresh.click, metric.input, reported.input, *(control.input for control in controls)],
        view.show,
        settings,
        shown,
        trigger_mode="always_last",
        **quiet,
    )
    everything.click(view.show_everything, settings, [controls[-1], *shown], trigger_mode="always_last", **quiet)
    _load_when_opened(tab, room, [everything, distribution, timeline, split, tokens, cost])
    tab.select(view.choices, controls[:6], controls[:6], **quiet)
    gr.api(view.stats, api_name="stats", concurrency_limit=None)


def _load_when_opened(tab: gr.Tab, room: gr.Column, later: Sequence[gr.Button | gr.Plot]) -> None:
    """Make the page load these components' scripts (35 requests) when the tab is opened, not with the page.

    Gradio loads the scripts of all visible components, even in a tab that is not open. ``later`` become visible with
    their data.
    """
    inside = list(_inside(room))
    for component in inside:
        component.visible = False
    shown = [component for component in inside if component not in later]
    show = f"() => Array({len(shown)}).fill({{ visible: true, __type__: 'update' }})"
    tab.select(None, None, shown, js=show, api_visibility="private", show_progress="hidden")


def _inside(block: Any) -> Iterator[Any]:
    """Yield the block and all its descendants."""
    yield block
    for child in getattr(block, "children", ()):
        yield from _inside(child)


def _controls() -> list[Any]:
    """The filters in the order of ``FIELDS``, without the last."""
    several = {"multiselect": True, "min_width": 150}
    return [
        _filter([], label="Only these lanes", **several),
        _filter([], label="Only these models", **several),
        _filter([], label="Only these providers", **several),
        _filter(list(PERIODS), value="All time", label="Period", min_width=130),
        _filter(list(LENGTHS), value="Any length", label="Prompt", min_width=130),
        _filter([("All", "")], value="", label="Conversation", min_width=130),
        _filter(list(KINDS), value="All", label="Kind", min_width=130),
        _filter(list(STARTS), value="All", label="Start", min_width=130),
    ]


def _filter(choices: Sequence[Any], **options: Any) -> gr.Dropdown:
    """A dropdown that accepts any value from the page; ``Form`` ignores values that are not choices."""
    return take_any_value(gr.Dropdown(choices, **options))


def _includes() -> gr.CheckboxGroup:
    return gr.CheckboxGroup(
        [(f"count in: {word}", word) for word in INCLUDES],
        value=[],
        show_label=False,
        container=False,
        elem_id="stats-include",
    )


def _plot(label: str) -> gr.Plot:
    return gr.Plot(label=label, show_label=False, min_width=300, elem_classes="st-plot")


def _html(elem_id: str) -> gr.HTML:
    return gr.HTML(elem_id=elem_id, apply_default_css=False)


class StatsView:
    """Handlers of the tab's events and of the endpoint."""

    def __init__(self, reader: LogReader, lanes: Callable[[], Sequence[str]], private: bool) -> None:
        self._reader = reader
        self._lanes = lanes
        self._private = private
        self._lock = Lock()  # guards ``_kept``; each event has its own thread
        self._kept: OrderedDict[Filters, tuple[tuple[Any, ...], Sample]] = OrderedDict()

    def choices(self, request: gr.Request, *values: Any) -> list[Any]:
        """The current choices of lanes, models, providers and conversations; selected values stay selected."""
        found = samples.choices(self._reader, self._scope(request), visitor_of(request))
        lanes, models, providers, period, length, conversation = values
        return [
            gr.update(choices=found.lanes, value=_still(lanes, found.lanes)),
            gr.update(choices=found.models, value=_still(models, found.models)),
            gr.update(choices=found.providers, value=_still(providers, found.providers)),
            period,
            length,
            gr.update(choices=[("All", ""), *found.conversations], value=conversation or ""),
        ]

    def show(self, request: gr.Request, metric_column: str, with_reported: bool, *values: Any) -> list[Any]:
        """All contents of the tab for these settings."""
        form = Form.of(dict(zip(FIELDS, values, strict=True)))
        filters = form.filters(self._scope(request))
        metric = BY_COLUMN[metric_column]
        sample = self._sample(filters)
        viewer = visitor_of(request)
        points = samples.points(self._reader, filters, viewer, N_POINTS, sample)
        look = Look.of(sample, self._lanes())
        turns = samples.turns(self._reader, filters, viewer)
        rules = stats_plots.reported_rules(metric, look) if with_reported else None
        distribution = stats_plots.distribution(sample, points, metric, look, rules or ())
        legend = stats_html.legend(look, metric, rules if distribution else None)
        return [
            stats_html.overview(sample, look, filtered=form != Form()),
            stats_html.paired(sample, metric) + legend if sample.series else "",
            stats_html.voted(votes(self._reader, filters), self._lanes())
            + stats_html.heavy_worth(heavy_worth(self._reader, filters)),
            _shown(distribution),
            _shown(stats_plots.timeline(points, metric, look)),
            _shown(stats_plots.time_split(splits(sample))),
            _shown(stats_plots.tokens_against_time(points, look)),
            _shown(stats_plots.cost_over_days(samples.cost_by_day(self._reader, filters), look)),
            stats_html.recent(turns, list(sample.lanes().items())),
            stats_html.downloads(form.query),
            gr.update(visible=bool(outweighed(sample)) and set(form.include) != set(INCLUDES)),
        ]

    def show_everything(self, request: gr.Request, *settings: Any) -> list[Any]:
        """The tab with nothing left out, and the value of the control that says so."""
        every = list(INCLUDES)
        return [every, *self.show(request, *settings[:-1], every)]

    def stats(
        self, request: gr.Request, lanes: list[str] | None = None, models: list[str] | None = None, days: int = 0
    ) -> dict[str, Any]:
        """The summary, per lane and paired by prompt, of the last ``days`` days (0: all time)."""
        try:
            since_utc = samples.since(days or None)
        except ValueError as error:
            raise gr.Error(f"days is {error}, or 0 for all time.", print_exception=False) from None
        filters = samples.Filters(
            lanes=tuple(lanes or ()),
            models=tuple(models or ()),
            since_utc=since_utc,
            owner=self._scope(request),
        )
        return as_dict(samples.load(self._reader, filters))

    def _sample(self, filters: Filters) -> Sample:
        """The attempts that match. Cached, because often only the metric changes next."""
        state = samples.state(self._reader)
        with self._lock:
            kept = self._kept.pop(filters, None)
        if kept is None or kept[0] != state:
            kept = (state, samples.load(self._reader, filters))
        with self._lock:
            self._kept[filters] = kept
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept[1]

    def _scope(self, request: gr.Request) -> str | None:
        """The owner whose attempts are counted; None: all owners."""
        return scope_of(request, self._private)


def _still(chosen: Any, choices: Sequence[tuple[str, str]]) -> list[str]:
    """The selected values that are still available."""
    there = {value for _, value in choices}
    return [value for value in chosen or [] if value in there]


def _shown(chart: Any) -> Any:
    """An update for a plot; a plot without data is hidden."""
    return gr.update(value=chart, visible=chart is not None)
