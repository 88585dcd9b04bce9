/**
 * Types of what the server sends to the page. kimi_ui/view/frames.py describes the protocol. All times are in ms;
 * `*_ms` inside a lane counts from the moment its attempt was sent. A key that is absent has not changed.
 */

export type Phase =
  | "idle" | "queued" | "connecting" | "waiting" | "thinking" | "answering"
  | "done" | "length" | "no_answer" | "incomplete" | "stopped" | "timeout" | "error" | "interrupted";

/** What is new in a turn since the previous frame. The first frame of a stream has `turn` and everything so far. */
export interface Frame {
  turn?: Turn;
  /** The engine's clock since the turn's start; null for a stored turn. */
  now_ms?: number | null;
  lanes: Record<string, LanePart>;
}

export interface Turn {
  turn_id: string;
  conversation_id?: string;
  seq?: number;
  prompt: string | null;
  attachments?: { name: string; chars: number; tokens?: number }[];
  /** `src`: where the bytes are, in an exported page. */
  images?: { name: string; width: number; height: number; n_bytes: number; src?: string }[];
  started_at_utc?: string;
  closed?: boolean;
  /** The lane whose history every lane was sent; empty: each its own. */
  basis?: string;
  lanes: LaneInfo[];
  blind?: boolean;
  /** Of a turn that was blind: the lane of each slot. */
  slots?: Record<string, string>;
  vote?: { choice: string; lane: string; blind: boolean } | null;
}

/** A lane as it was in the turn; the other fields are those of the lane as configured now. */
export interface LaneInfo {
  id: string;
  label: string;
  provider: string;
  model: string;
  width: number;
  /** Of heavy: the lane whose model it uses. */
  of?: string;
  stand_in_for: string;
  how_to_get_real: string;
  send_reasoning: boolean;
  accent?: number;
  at_rest?: boolean;
  served_by?: string;
  why?: string;
  why_not?: string;
  price?: Price | null;
  /** The model that its server can fetch where it is missing; of a stand-in the real one. */
  can_pull?: string;
  /** The model of the next prompt of this conversation. */
  next_model?: string;
  /** Why its model cannot be chosen on this page; empty: it can. */
  fixed?: string;
}

/**
 * Words that a search has found in a turn: in its `prompt`, or in the `reasoning` or `answer` of attempt number `attempt`
 * (from 1) of a lane, there of a trajectory if `trajectory` is a number (from 0).
 */
export interface Hit {
  part: string;
  lane: string;
  attempt: number;
  trajectory: number | null;
  words: string[];
}

/** A model that a server fetches or fetched, see kimi_ui/core/pull.py. `asks`: turns that are retried then. */
export interface Pull {
  model: string;
  lanes: string[];
  state: "running" | "done" | "cancelled" | "interrupted" | "failed";
  status: string;
  completed: number | null;
  total: number | null;
  figures: string;
  problem: string;
  remedy: string;
  command: string;
  detail: string;
  updated_at_utc: string;
  asks: string[];
}

/** USD per million tokens. */
export interface Price {
  input: number;
  cached_input: number | null;
  output: number;
  as_of: string;
}

/** What is new in a trajectory; lanes have these fields too. */
export interface Part {
  attempt?: Attempt;
  /** The attempt left the app's queue. */
  sent?: Sending;
  phase?: Phase;
  stamps?: Stamps;
  notes?: string[];
  context?: { tokens: number | null; trained: number | null };
  reasoning?: string;
  /** Texts of an ended attempt that are requested when the reader opens them. */
  later?: Later;
  clear_answer?: boolean;
  race?: RaceNews;
  failure?: Failure;
  /** The answer was cut, and the lane can be asked to go on with it. */
  can_continue?: boolean;
  retry?: Retry;
  promoted?: boolean;
  /** A trajectory's answer: text to append, HTML once it has ended, and its tokens. */
  text?: string;
  answer?: string;
  tokens?: number;
  /** A trajectory's: since when (ms) which answer its text states, by letter; "" for none. */
  letters?: [number, string][];
}

/** See `frames.py`: what heavy's trajectories say together. `members` and `k` are numbers of trajectories, from 1 and 0. */
export interface HeavyPart {
  labels: Record<string, string>;
  cells: { k: number; letter: string; state: "answer" | "none" | "failed" | "open" | "unsent"; says: string }[];
  says: string;
  lines: { kind: string; text: string; means?: string }[];
  strategies?: { id: string; label: string }[];
  /** The answers are being aggregated, or have been. */
  aggregating?: boolean;
  parts_say?: string;
  /** Parts of the answer from the place `parts_at` on; those the page has from there on are old. */
  parts?: { text: string; html?: string; kind: string; label: string; members: number[] }[];
  parts_at?: number;
}

/** `chars`: of the reasoning, in UTF-16 units. Of a trajectory: `recent`, the end of its texts, and whether it has an answer. */
export interface Later {
  chars: number;
  recent?: string;
  answered?: boolean;
}

export interface LanePart extends Part, AnswerNews {
  preparing?: { label: string; done: number | null; total: number | null } | null;
  steps?: Step[];
  metrics?: Metrics;
  trajectories?: Record<string, LanePart>;
  heavy?: HeavyPart;
}

/** See `Frame` in kimi_ui/core/markdown/stream.py. All but `append` is HTML. */
export interface AnswerNews {
  blocks?: string[];
  tail?: string;
  append?: string;
  whole?: string;
  /** The rest of this answer follows in further frames; false: it is complete now. */
  more?: boolean;
}

/**
 * `sent_ms`: since the turn's start; while the attempt is queued, when it joined. `queue_ms`: how long it waited before.
 * `host`: of the server, with its port; absent where there is none, or while a lane has several and none is chosen.
 */
export interface Sending {
  sent_ms: number;
  queue_ms?: number | null;
  host?: string;
}

export interface Attempt extends Sending {
  attempt_id: string;
  attempt_no: number;
  label: string;
  provider: string;
  model: string;
  stand_in_for: string;
  /** It goes on with the cut answer of an earlier attempt. */
  continues?: boolean;
}

export interface Stamps {
  first_token_ms?: number;
  first_reasoning_ms?: number;
  first_answer_ms?: number;
  last_token_ms?: number;
  end_ms?: number;
}

export interface Step {
  i: number;
  dropped?: boolean;
  kind?: "system" | "topic";
  label?: string;
  /** The label with its formulas drawn, if it has any. */
  html?: string;
  /** How deep a topic is nested, 0 to 2. */
  level?: number;
  t_ms?: number;
  until_ms?: number | null;
  /** The position in the text as the page shows it, in UTF-16 units. */
  at?: number | null;
  where?: "reasoning" | "answer";
  done?: number | null;
  total?: number | null;
}

/** `points`: to append; times and characters alternate. */
export interface RaceNews {
  points?: number[];
  connect_ms?: number;
  server_queue_ms?: number;
  load_ms?: number;
  load_or_wait_ms?: number;
  prompt_ms?: number;
  aggregating_ms?: number;
}

export interface Failure {
  kind: string;
  message: string;
  remedy: string;
  command: string;
  detail: string;
  http_status: number | null;
  provider: string;
  model: string;
  can_promote?: boolean;
  /** Parameters with which asking again may work. */
  again?: Record<string, number>;
}

export interface Retry {
  at_ms: number;
  attempt_no: number;
  failure: Failure | null;
}

/** A value's error bound, e.g. "±0.3 ms". `rough`: it is above 2 %, so the value is shown with ~. */
export interface Bound {
  words: string;
  rough: boolean;
}

/** Columns of `attempt_metrics`; null where a number is unknown. `bounds`: by column, of an ended attempt. */
export type Metrics = Record<string, any> & {
  bounds?: Record<string, Bound>;
  output_tokens: number | null;
  reasoning_tokens: number | null;
  token_source: string | null;
  reasoning_source: string | null;
};
