"""The Stats tab: what the log says about the lanes, for someone who would rather look than read.

Nothing is computed before the tab is opened; opening it, a filter or Refresh computes what has changed (over 100,000
attempts 0.6 s of CPU, 0.1 s where only the metric changed). Numbers, intervals and sentences come from ``stats``; this
file is controls and wiring. The named endpoint ``/stats`` gives programs the same summary as plain values.

``private``: everybody sees their own attempts only (more than one person uses this app). Otherwise the figures are
about all attempts, while prompts are shown only to whom they belong.
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
from ..stats.sample import Filters, Sample
from ..stats.summary import BY_COLUMN, METRICS, as_dict, splits
from ..stats.votes import votes
from ..web.visitor import visitor_of
from . import stats_html, stats_plots
from .gradio_internals import take_any_value
from .stats_plots import Look

REPORTED_LABEL = "Published report (means over 5 prompts, tokens/s undefined)"
FIELDS = tuple(field.name for field in fields(Form))
N_POINTS = 2000
KEPT = 4  # samples of different filters kept: 10 MB each over 100,000 attempts


def build(
    reader: LogReader,
    tab: gr.Tab,
    lanes: Callable[[], Sequence[str]],
    *,
    private: bool = False,
) -> None:
    """Fill ``tab``, inside of which this is called. ``lanes``: ids in the page's order, which decides the colours."""
    view = StatsView(reader, lanes, private)
    with gr.Column(elem_id="stats") as room:
        with gr.Accordion("Filters", open=False, elem_id="stats-filters"), gr.Row(elem_classes="st-filters"):
            controls = _controls()
        with gr.Row(elem_classes="st-filters-more"):
            controls.append(_includes())
            refresh = gr.Button("Refresh", size="sm", elem_id="stats-refresh")
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

    shown = [overview, paired, voted, distribution, timeline, split, tokens, cost, recent, downloads]
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
    _load_when_opened(tab, room, [distribution, timeline, split, tokens, cost])
    tab.select(view.choices, controls[:6], controls[:6], **quiet)
    gr.api(view.stats, api_name="stats", concurrency_limit=None)


def _load_when_opened(tab: gr.Tab, room: gr.Column, plots: Sequence[gr.Plot]) -> None:
    """Have the page fetch the scripts of these components when the tab is opened, not when the page is: 35 requests.

    Gradio fetches what a component needs unless it is invisible, also in a tab nobody has opened. The plots become
    visible with their data.
    """
    inside = list(_inside(room))
    for component in inside:
        component.visible = False
    shown = [component for component in inside if component not in plots]
    show = f"() => Array({len(shown)}).fill({{ visible: true, __type__: 'update' }})"
    tab.select(None, None, shown, js=show, api_visibility="private", show_progress="hidden")


def _inside(block: Any) -> Iterator[Any]:
    """The block, and everything within it."""
    yield block
    for child in getattr(block, "children", ()):
        yield from _inside(child)


def _controls() -> list[Any]:
    """The filters, in the order of ``FIELDS``, without the last."""
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
    """A dropdown whose value is taken as the page sends it: ``Form`` ignores what is no choice."""
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
    """What the tab's events and the endpoint answer."""

    def __init__(self, reader: LogReader, lanes: Callable[[], Sequence[str]], private: bool) -> None:
        self._reader = reader
        self._lanes = lanes
        self._private = private
        self._lock = Lock()  # over ``_kept``: each event has a thread of its own
        self._kept: OrderedDict[Filters, tuple[tuple[Any, ...], Sample]] = OrderedDict()

    def choices(self, request: gr.Request, *values: Any) -> list[Any]:
        """What lanes, models, providers and conversations there are by now; what is chosen stays chosen."""
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
        """Everything the tab shows, for these settings."""
        form = Form.of(dict(zip(FIELDS, values, strict=True)))
        filters = form.filters(self._scope(request))
        metric = BY_COLUMN[metric_column]
        sample = self._sample(filters)
        viewer = visitor_of(request)
        points = samples.points(self._reader, filters, viewer, N_POINTS)
        look = Look.of(sample, self._lanes())
        turns = samples.turns(self._reader, filters, viewer)
        rules = stats_plots.reported_rules(metric, look) if with_reported else None
        distribution = stats_plots.distribution(sample, points, metric, look, rules or ())
        legend = stats_html.legend(look, metric, rules if distribution else None)
        return [
            stats_html.overview(sample, look, filtered=form != Form()),
            stats_html.paired(sample, metric) + legend if sample.series else "",
            stats_html.voted(votes(self._reader, filters), self._lanes()),
            _shown(distribution),
            _shown(stats_plots.timeline(points, metric, look)),
            _shown(stats_plots.time_split(splits(sample))),
            _shown(stats_plots.tokens_against_time(points, look)),
            _shown(stats_plots.cost_over_days(samples.cost_by_day(self._reader, filters), look)),
            stats_html.recent(turns, list(sample.lanes().items())),
            stats_html.downloads(form.query),
        ]

    def stats(
        self, request: gr.Request, lanes: list[str] | None = None, models: list[str] | None = None, days: int = 0
    ) -> dict[str, Any]:
        """The summary: per lane and paired by prompt, of the last ``days`` days (0: of all time)."""
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
        """The attempts that fit; kept for the next look, which is often at another metric of the same ones."""
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
        """Whose attempts are counted; None: everybody's."""
        return visitor_of(request) if self._private else None


def _still(chosen: Any, choices: Sequence[tuple[str, str]]) -> list[str]:
    """What was chosen and still can be."""
    there = {value for _, value in choices}
    return [value for value in chosen or [] if value in there]


def _shown(chart: Any) -> Any:
    """A plot that has nothing to show takes no room."""
    return gr.update(value=chart, visible=chart is not None)
