-- The derived numbers of the log: every one is computed here from raw stamps and counts, never stored as a truth.
-- core/metrics.py and core/counts.py hold the same definitions in Python; a test keeps the two equal to 1e-9.
-- _ms: milliseconds, _tps: tokens per second, flags: 0 or 1. NULL is "not known", never 0.
-- In the subset of SQL that SQLite (from 3.37) and PostgreSQL share: no JSON functions, no min() or max() of several
-- values, no sum() of conditions, no division by zero. turn_lanes and vote_lanes come from the store (sqlite/lists.sql).
-- A statement starts with CREATE VIEW and ends with ";" at line ends (sqlite/schema.py splits the file there).


-- Which token counts to believe, step by step. One row per attempt, with all columns of attempts.
CREATE VIEW attempt_counts AS
WITH
reported AS (  -- what the server said, without zeros (gateways that count nothing send 0), and what was counted here
    SELECT *,
        CASE WHEN usage_output_tokens BETWEEN 1 AND 1000000000 THEN usage_output_tokens END AS told_output,
        CASE WHEN usage_input_tokens BETWEEN 1 AND 1000000000 THEN usage_input_tokens END AS told_input,
        local_reasoning_tokens + local_answer_tokens AS local_output_tokens,
        (input_chars + 3) / 4 AS estimated_input
    FROM attempts
),
split AS (  -- a reasoning count must fit in the output, and is not 0 where reasoning can be read
    SELECT *,
        CASE WHEN usage_reasoning_tokens BETWEEN 0 AND told_output
              AND NOT (usage_reasoning_tokens = 0 AND coalesce(local_reasoning_tokens, 0) > 0)
             THEN usage_reasoning_tokens END AS told_reasoning
    FROM reported
),
visible AS (  -- reasoning that is counted but hidden by the provider cannot be in the local count
    SELECT *,
        CASE WHEN local_reasoning_tokens = 0 THEN told_output - coalesce(told_reasoning, 0)
             ELSE told_output END AS told_visible
    FROM split
),
checked AS (  -- "reasoning" that is in fact the answer; counts that are ten times off the text
    SELECT *,
        CASE WHEN 2 * told_visible < local_output_tokens AND told_visible < told_output
             THEN TRUE ELSE FALSE END AS false_reasoning
    FROM visible
),
compared AS (
    SELECT *,
        CASE WHEN false_reasoning THEN told_output ELSE told_visible END AS seen_by_server
    FROM checked
),
judged AS (
    SELECT *,
        CASE WHEN abs(seen_by_server - local_output_tokens) > 40
              AND (seen_by_server > 10 * local_output_tokens OR local_output_tokens > 10 * seen_by_server)
             THEN TRUE ELSE FALSE END AS false_output,
        CASE WHEN told_input > 10 * estimated_input + 1000 THEN TRUE ELSE FALSE END AS false_input
    FROM compared
),
believed AS (
    SELECT *,
        CASE WHEN false_output OR told_output IS NULL THEN local_output_tokens ELSE told_output END AS output_tokens,
        CASE WHEN told_output IS NOT NULL AND NOT false_output THEN coalesce(usage_source, 'usage')
             WHEN local_output_tokens IS NOT NULL THEN local_source END AS token_source,
        CASE WHEN told_input IS NOT NULL AND NOT false_input THEN told_input
             WHEN n_chunks > 0 THEN estimated_input END AS input_tokens,
        CASE WHEN told_input IS NOT NULL AND NOT false_input THEN coalesce(usage_source, 'usage')
             WHEN n_chunks > 0 AND estimated_input IS NOT NULL THEN 'chars' END AS input_source,
        CASE WHEN NOT false_input AND usage_cached_input_tokens BETWEEN 0 AND told_input
             THEN usage_cached_input_tokens END AS cached_input_tokens,
        CASE WHEN told_output IS NOT NULL AND NOT false_output AND NOT false_reasoning
             THEN told_reasoning END AS believed_reasoning
    FROM judged
)
SELECT *,
    -- A total without a split is split as the text is.
    CASE WHEN believed_reasoning IS NOT NULL THEN believed_reasoning
         WHEN local_output_tokens > 0
         THEN (2 * output_tokens * local_reasoning_tokens + local_output_tokens) / (2 * local_output_tokens)
    END AS reasoning_tokens,
    CASE WHEN believed_reasoning IS NOT NULL THEN 'usage'
         WHEN local_output_tokens > 0 THEN 'apportioned' END AS reasoning_source,
    CASE WHEN NOT false_output AND local_output_tokens > 0
         THEN 1.0 * seen_by_server / local_output_tokens - 1 END AS token_discrepancy,
    -- USD: as the gateway reported it, else counts times the dated price. A price of 0 is a price.
    CASE WHEN usage_cost_usd >= 0 THEN usage_cost_usd
         WHEN price_input = 0 AND price_output = 0 THEN 0.0
         ELSE ((input_tokens - coalesce(cached_input_tokens, 0)) * price_input
               + coalesce(cached_input_tokens, 0) * coalesce(price_cached_input, price_input)
               + output_tokens * price_output) / 1e6
    END AS cost_usd,
    CASE WHEN usage_cost_usd >= 0 THEN 'reported'
         WHEN price_input = 0 AND price_output = 0 THEN 'price'
         WHEN price_input IS NULL OR input_tokens IS NULL OR output_tokens IS NULL THEN NULL
         WHEN token_source IN ('usage', 'server') AND input_source IN ('usage', 'server') THEN 'usage'
         ELSE 'estimate' END AS cost_source,
    -- Words for how the server's counts contradict themselves or the text, each after a space; '' if they do not.
    CASE WHEN usage_input_tokens NOT BETWEEN 0 AND 1000000000
           OR usage_cached_input_tokens NOT BETWEEN 0 AND 1000000000
           OR usage_output_tokens NOT BETWEEN 0 AND 1000000000
           OR usage_reasoning_tokens NOT BETWEEN 0 AND 1000000000
         THEN ' usage_absurd' ELSE '' END
    || CASE WHEN usage_reasoning_tokens > told_output OR false_reasoning THEN ' usage_reasoning' ELSE '' END
    || CASE WHEN false_output THEN ' usage_output' ELSE '' END
    || CASE WHEN false_input THEN ' usage_input' ELSE '' END
    || CASE WHEN NOT false_input AND usage_cached_input_tokens > told_input THEN ' usage_cached' ELSE '' END
    AS usage_problems,
    CASE WHEN load_ns > 500000000 THEN 1 WHEN load_ns IS NOT NULL THEN 0 END AS own_cold_start,
    flags LIKE '%"clock_jump":%' AS clock_jumped,
    -- How much earlier than stamped a token may have come; without the kernel's stamp, by the loop's worst lateness.
    coalesce(first_token_early_ns, loop_lag_ms * 1e6) AS first_token_bound_ns,
    coalesce(first_answer_early_ns, loop_lag_ms * 1e6) AS first_answer_bound_ns,
    coalesce(last_token_early_ns, loop_lag_ms * 1e6) AS last_token_bound_ns
FROM believed;


-- The metrics of every attempt. Heavy's row (role 'heavy') is the whole run: its tokens and cost are the sums over its
-- child attempts, failed ones included; speed is per stream, so its decode rate is NULL and the aggregator's row has it.
CREATE VIEW attempt_metrics AS
WITH
totals AS (
    SELECT *,
        status IN ('ok', 'length', 'no_answer') AS finished,  -- others are censored: totals and rates are NULL
        role = 'heavy' AS heavy,
        flags NOT LIKE '%"non_streaming":%' AS streamed,  -- JSON: a quote within a text would be \"
        -- Of the first text event, by its share of the characters; but every later event held at least one token.
        1.0 * output_tokens * first_event_chars / nullif(text_chars, 0) AS first_event_tokens,
        output_tokens - n_chunks + 1 AS most_first_tokens
    FROM attempt_counts
),
summed AS (
    SELECT *,
        -- Unknown if a child that wrote text is unknown. Subqueries, not one join of sums: with that SQLite adds up all
        -- heavy runs to look at one attempt (60 ms instead of 0.2 with 2,000 runs; all attempts: 0.26 s instead of 0.44).
        CASE WHEN NOT heavy THEN output_tokens
             WHEN NOT EXISTS (SELECT 1 FROM attempt_counts c
                              WHERE c.parent_id = totals.attempt_id AND c.n_chunks > 0 AND c.output_tokens IS NULL)
             THEN (SELECT sum(c.output_tokens) FROM attempt_counts c WHERE c.parent_id = totals.attempt_id)
        END AS all_output,
        CASE WHEN NOT heavy THEN input_tokens
             WHEN NOT EXISTS (SELECT 1 FROM attempt_counts c
                              WHERE c.parent_id = totals.attempt_id AND c.n_chunks > 0 AND c.input_tokens IS NULL)
             THEN (SELECT sum(c.input_tokens) FROM attempt_counts c WHERE c.parent_id = totals.attempt_id)
        END AS all_input,
        CASE WHEN NOT heavy THEN reasoning_tokens
             WHEN NOT EXISTS (SELECT 1 FROM attempt_counts c
                              WHERE c.parent_id = totals.attempt_id AND c.n_chunks > 0 AND c.reasoning_tokens IS NULL)
             THEN (SELECT sum(c.reasoning_tokens) FROM attempt_counts c WHERE c.parent_id = totals.attempt_id)
        END AS all_reasoning,
        CASE WHEN NOT heavy THEN cached_input_tokens
             ELSE (SELECT sum(c.cached_input_tokens) FROM attempt_counts c WHERE c.parent_id = totals.attempt_id)
        END AS all_cached,
        CASE WHEN NOT heavy THEN cost_usd
             WHEN NOT EXISTS (SELECT 1 FROM attempt_counts c
                              WHERE c.parent_id = totals.attempt_id AND c.n_chunks > 0 AND c.cost_usd IS NULL)
             THEN (SELECT sum(c.cost_usd) FROM attempt_counts c WHERE c.parent_id = totals.attempt_id)
        END AS all_cost,
        CASE WHEN NOT heavy THEN own_cold_start
             ELSE (SELECT max(c.own_cold_start) FROM attempt_counts c WHERE c.parent_id = totals.attempt_id)
        END AS any_cold_start,
        CASE WHEN heavy AND EXISTS (SELECT 1 FROM attempt_counts c WHERE c.parent_id = totals.attempt_id
                                    AND (c.clock_jumped OR c.usage_problems <> ''))
             THEN ' child' ELSE '' END AS child_problems,
        -- What the reader gets: heavy's answer is the aggregator's.
        CASE WHEN NOT heavy THEN output_tokens - reasoning_tokens
             ELSE coalesce(
                 (SELECT c.output_tokens - c.reasoning_tokens FROM attempt_counts c
                  WHERE c.parent_id = totals.attempt_id AND c.role = 'aggregator'
                    AND c.output_tokens - c.reasoning_tokens IS NOT NULL
                  ORDER BY c.sent_ns DESC, c.attempt_no DESC LIMIT 1),
                 local_answer_tokens)
        END AS answer_tokens,
        -- Tokens after the first text event: N - 1, or without what a first event held that held several.
        CASE WHEN NOT heavy AND n_chunks > 1 AND output_tokens > 1 THEN
             CASE WHEN first_event_tokens > most_first_tokens AND most_first_tokens >= 3
                  THEN output_tokens - most_first_tokens
                  WHEN first_event_tokens <= most_first_tokens AND first_event_tokens >= 3
                  THEN output_tokens - first_event_tokens
                  ELSE output_tokens - 1.0 END
        END AS later_tokens,
        CASE WHEN finished THEN last_token_ns END AS e2e_ns,
        CASE WHEN finished AND NOT heavy AND coalesce(burst, 0) = 0 AND last_token_ns > first_token_ns
             THEN last_token_ns - first_token_ns END AS decode_ns,
        CASE WHEN finished AND NOT heavy AND coalesce(answer_burst, 0) = 0
             THEN last_token_ns - first_answer_ns END AS answer_ns,
        CASE WHEN streamed THEN first_token_ns END AS seen_first_ns,
        CASE WHEN NOT heavy THEN load_ns END AS own_load_ns,
        CASE WHEN NOT heavy THEN server_queue_ns END AS own_queue_ns,
        CASE WHEN NOT heavy THEN load_or_wait_ns END AS own_unsplit_ns,
        CASE WHEN prompt_ns IS NOT NULL THEN prompt_ns
             WHEN streamed AND flags NOT LIKE '%"prompt_time_unknown":%' THEN first_token_ns END AS prefill_ns,
        coalesce(sent_late_ns, 0) + 100000 AS sent_bound_ns,  -- and what clocks and system calls leave open
        CASE WHEN first_token_bound_ns >= last_token_bound_ns THEN first_token_bound_ns + 100000
             WHEN first_token_bound_ns < last_token_bound_ns THEN last_token_bound_ns + 100000 END AS span_bound_ns
    FROM totals
)
SELECT
    attempt_id, turn_id, parent_id, lane, label, role, k_index, attempt_no,
    provider,
    -- Its address; of several, that of the one it was sent to. One with credentials (of OLLAMA_HOST) is not shown.
    CASE WHEN base_url <> '' AND base_url NOT LIKE '%@%' THEN base_url END AS server,
    -- Older rows of heavy left their model out; their turns have it.
    CASE WHEN request_model <> '' THEN request_model
         ELSE coalesce((SELECT l.model FROM turn_lanes l WHERE l.turn_id = summed.turn_id AND l.lane = summed.lane), '')
    END AS request_model,
    response_model, upstream, stand_in_for,
    status, end_reason, error_type, http_status, finish_reason, started_at_utc,

    -- Times, from the moment the request was sent.
    headers_ns / 1e6 AS connect_ms,                                   -- to the response headers
    CASE WHEN streamed THEN first_chunk_ns / 1e6 END AS ttfc_ms,      -- first stream event, even an empty one
    seen_first_ns / 1e6 AS ttft_ms,                                   -- first reasoning or answer text
    CASE WHEN own_load_ns IS NOT NULL OR own_unsplit_ns > 0
         THEN (seen_first_ns - coalesce(own_load_ns, 0) - coalesce(own_queue_ns, 0) - coalesce(own_unsplit_ns, 0)) / 1e6
    END AS ttft_warm_ms,                                              -- the same without the load and waits at the server
    CASE WHEN streamed THEN first_answer_ns / 1e6 END AS ttfo_ms,     -- first answer text
    CASE WHEN NOT streamed THEN NULL
         WHEN first_answer_ns IS NOT NULL
         THEN CASE WHEN first_answer_ns >= first_reasoning_ns THEN (first_answer_ns - first_reasoning_ns) / 1e6 END
         WHEN finished THEN (last_token_ns - first_reasoning_ns) / 1e6 END AS thinking_ms,
    e2e_ns / 1e6 AS e2e_ms,                                           -- to the last text
    end_ns / 1e6 AS ended_ms,                                         -- to the end, however it ended
    CASE WHEN finished AND parent_id IS NULL THEN (sent_ns - asked_ns + end_ns) / 1e6 END AS user_latency_ms,  -- since the click
    -- In this app's queue before it was sent, and in the server's queue after that.
    CASE WHEN queue_ns IS NOT NULL OR own_queue_ns IS NOT NULL
         THEN (coalesce(queue_ns, 0) + coalesce(own_queue_ns, 0)) / 1e6 END AS queue_ms,
    own_queue_ns / 1e6 AS server_queue_ms,
    own_load_ns / 1e6 AS cold_load_ms,
    own_unsplit_ns / 1e6 AS load_or_wait_ms,                          -- a load or a wait, and nothing says which

    -- Speed. A rate needs 200 ms and 40 tokens of its own.
    CASE WHEN later_tokens > 0 THEN decode_ns / 1e6 / later_tokens END AS tpot_ms,
    CASE WHEN NOT heavy AND output_tokens > 0 THEN e2e_ns / 1e6 / output_tokens END AS ntpot_ms,
    CASE WHEN decode_ns >= 200000000 AND output_tokens >= 40 AND later_tokens > 0
         THEN later_tokens * 1e9 / decode_ns END AS decode_tps,
    CASE WHEN answer_ns >= 200000000 AND answer_tokens >= 40
         THEN (answer_tokens - 1) * 1e9 / answer_ns END AS answer_decode_tps,
    CASE WHEN NOT heavy AND e2e_ns >= 200000000 AND output_tokens >= 40
         THEN output_tokens * 1e9 / e2e_ns END AS e2e_tps,
    CASE WHEN e2e_ns >= 200000000 AND answer_tokens >= 40
         THEN answer_tokens * 1e9 / e2e_ns END AS effective_tps,
    CASE WHEN heavy AND e2e_ns >= 200000000 AND all_output >= 40
         THEN all_output * 1e9 / e2e_ns END AS aggregate_tps,
    CASE WHEN NOT heavy AND eval_ns >= 200000000 AND told_output >= 40
         THEN told_output * 1e9 / eval_ns END AS server_decode_tps,
    CASE WHEN NOT heavy AND input_source IN ('usage', 'server')
          AND prefill_ns >= 200000000
          AND input_tokens - coalesce(cached_input_tokens, 0) >= 40
         THEN (input_tokens - coalesce(cached_input_tokens, 0)) * 1e9 / prefill_ns
    END AS prefill_tps,

    -- The stream's texture.
    CASE WHEN n_chunks > 0 THEN n_chunks END AS n_chunks,
    CASE WHEN NOT heavy AND n_chunks > 0 THEN 1.0 * output_tokens / n_chunks END AS tokens_per_chunk,
    CASE WHEN NOT heavy AND n_chunks > 0 AND output_tokens IS NOT NULL
         THEN CASE WHEN n_chunks = 1 AND output_tokens > 1 THEN 1 ELSE 0 END END AS coalesced,
    CASE WHEN n_chunks > 0 THEN burst END AS burst,
    max_gap_ns / 1e6 AS max_stall_ms,
    CASE WHEN n_chunks > 0 THEN n_stalls END AS n_stalls,
    p99_gap_ns / 1e6 AS p99_icl_ms,

    -- Tokens.
    all_input AS input_tokens,
    CASE WHEN NOT heavy THEN input_source
         WHEN all_input IS NULL THEN NULL
         ELSE (SELECT c.input_source FROM attempt_counts c
               WHERE c.parent_id = summed.attempt_id AND c.input_source IS NOT NULL
               ORDER BY CASE c.input_source WHEN 'chars' THEN 0 WHEN 'tokenizer' THEN 1 WHEN 'server' THEN 2 ELSE 3 END
               LIMIT 1) END AS input_source,
    all_cached AS cached_input_tokens,
    all_output AS output_tokens,
    all_reasoning AS reasoning_tokens,
    answer_tokens,
    CASE WHEN NOT heavy THEN token_source
         WHEN all_output IS NULL THEN NULL
         ELSE (SELECT c.token_source FROM attempt_counts c
               WHERE c.parent_id = summed.attempt_id AND c.token_source IS NOT NULL
               ORDER BY CASE c.token_source WHEN 'chars' THEN 0 WHEN 'tokenizer' THEN 1 WHEN 'server' THEN 2 ELSE 3 END
               LIMIT 1) END AS token_source,
    CASE WHEN NOT heavy THEN reasoning_source END AS reasoning_source,
    CASE WHEN all_output > 0 THEN 1.0 * all_reasoning / all_output END AS reasoning_share,
    CASE WHEN NOT heavy THEN token_discrepancy END AS token_discrepancy,
    CASE WHEN heavy THEN 1.0 * all_output / (
             SELECT nullif(n.output_tokens, 0) FROM attempt_counts n
             WHERE n.turn_id = summed.turn_id AND n.parent_id IS NULL AND n.lane = (
                 SELECT l.made_of FROM turn_lanes l WHERE l.turn_id = summed.turn_id AND l.lane = summed.lane)
             ORDER BY n.attempt_no DESC LIMIT 1) END AS token_amplification,

    all_cost AS cost_usd,
    CASE WHEN NOT heavy THEN cost_source
         WHEN all_cost IS NULL THEN NULL
         ELSE (SELECT c.cost_source FROM attempt_counts c
               WHERE c.parent_id = summed.attempt_id AND c.cost_source IS NOT NULL
               ORDER BY CASE c.cost_source WHEN 'estimate' THEN 0 WHEN 'usage' THEN 1 WHEN 'reported' THEN 2 ELSE 3 END
               LIMIT 1) END AS cost_source,

    -- Whether to trust it.
    any_cold_start AS cold_start,
    loop_lag_ms,
    -- Error bounds: the truth is within ± this; _err_pct in % of the value (of the true value for a rate).
    CASE WHEN seen_first_ns IS NOT NULL THEN (first_token_bound_ns + sent_bound_ns) / 1e6 END AS ttft_err_ms,
    CASE WHEN streamed AND first_answer_ns IS NOT NULL
         THEN (first_answer_bound_ns + sent_bound_ns) / 1e6 END AS ttfo_err_ms,
    CASE WHEN e2e_ns IS NOT NULL THEN (last_token_bound_ns + sent_bound_ns) / 1e6 END AS e2e_err_ms,
    CASE WHEN later_tokens > 0 THEN 100.0 * span_bound_ns / decode_ns END AS tpot_err_pct,
    CASE WHEN decode_ns >= 200000000 AND output_tokens >= 40 AND later_tokens > 0
         THEN 100.0 * span_bound_ns / decode_ns END AS decode_err_pct,
    CASE WHEN clock_jumped OR (NOT heavy AND usage_problems <> '') OR child_problems <> '' THEN 1 ELSE 0 END AS suspect,
    nullif(ltrim(
        CASE WHEN clock_jumped THEN ' clock_jump' ELSE '' END
        || CASE WHEN heavy THEN '' ELSE usage_problems END
        || child_problems), '') AS suspect_reason
FROM summed;


-- One row per turn and lane: the lane's last try, what the user waited for it, and the cost of all tries.
CREATE VIEW turn_metrics AS
WITH last_try AS (
    SELECT turn_id, lane, max(attempt_no) AS attempt_no, count(*) AS n_attempts
    FROM attempts WHERE parent_id IS NULL GROUP BY turn_id, lane
)
SELECT
    t.turn_id, t.conversation_id, t.seq, t.owner, t.kind, t.started_at_utc, t.prompt_chars,
    m.lane, m.label, m.role, m.provider, m.request_model, m.stand_in_for,
    m.attempt_id, l.n_attempts, m.status, m.error_type,
    m.user_latency_ms,                                               -- spans all tries and the waits between them
    (a.sent_ns - a.asked_ns + a.first_answer_ns) / 1e6 AS user_ttfo_ms,  -- click to first answer text
    m.ttft_ms, m.ttfo_ms, m.thinking_ms, m.e2e_ms, m.decode_tps, m.aggregate_tps, m.effective_tps,
    m.input_tokens, m.output_tokens, m.reasoning_tokens, m.answer_tokens, m.token_source, m.token_amplification,
    CASE WHEN l.n_attempts = 1 THEN m.cost_usd
         ELSE (SELECT sum(r.cost_usd) FROM attempt_metrics r
               WHERE r.turn_id = t.turn_id AND r.lane = m.lane AND r.parent_id IS NULL) END AS cost_usd,
    m.cost_source, m.cold_start, m.suspect, m.suspect_reason,
    -- Heavy: trajectories that gave a whole answer, of how many.
    CASE WHEN m.role = 'heavy' THEN (SELECT count(DISTINCT c.k_index) FROM attempts c
        WHERE c.parent_id = m.attempt_id AND c.role = 'trajectory' AND c.status = 'ok') END AS k_ok,
    CASE WHEN m.role = 'heavy' THEN (SELECT count(DISTINCT c.k_index) FROM attempts c
        WHERE c.parent_id = m.attempt_id AND c.role = 'trajectory') END AS k_total
FROM last_try l
JOIN attempts a ON a.turn_id = l.turn_id AND a.lane = l.lane AND a.attempt_no = l.attempt_no AND a.parent_id IS NULL
JOIN attempt_metrics m ON m.attempt_id = a.attempt_id
JOIN turns t ON t.turn_id = l.turn_id;


-- How a heavy run's time was spent, and what its answers add up to (heavy_runs; NULL for runs of older versions).
-- e2e_ms = drafts_ms + gap_ms + aggregator_e2e_ms by definition of gap_ms. core/heavy/timing.py has the times in Python.
CREATE VIEW heavy_metrics AS
WITH
used AS (  -- trajectories with a whole answer, and the moment of each one's last text since heavy was sent
    SELECT c.parent_id AS attempt_id, c.k_index,
           c.last_token_ns AS e2e_ns, c.sent_ns - h.sent_ns + c.last_token_ns AS written_ns,
           row_number() OVER (PARTITION BY c.parent_id ORDER BY c.last_token_ns NULLS FIRST, c.k_index) AS place,
           row_number() OVER (PARTITION BY c.parent_id ORDER BY c.last_token_ns DESC NULLS LAST, c.k_index)
               AS place_from_end,
           count(*) OVER (PARTITION BY c.parent_id) AS k_ok
    FROM attempts c JOIN attempts h ON h.attempt_id = c.parent_id
    WHERE c.role = 'trajectory' AND c.status = 'ok'
)
SELECT
    m.attempt_id, m.turn_id, m.lane, m.status, m.ttft_ms, m.ttfo_ms, m.e2e_ms,
    m.ttft_ms AS first_trajectory_token_ms, m.ttfo_ms AS first_answer_token_ms,  -- the two first tokens by their names
    r.strategy, r.preset, r.width, r.launched, r.usable, r.failed,
    r.n_clusters, r.agreement, r.effective_answers, r.similarity, r.stopped_at, r.stop_risk, r.verdict,
    CASE r.verdict WHEN 'followed' THEN 0 WHEN 'minority' THEN 1 WHEN 'own' THEN 1 END AS overruled,
    r.answers_of,                                                    -- whose answers were aggregated again
    (SELECT count(DISTINCT c.k_index) FROM attempts c
     WHERE c.parent_id = m.attempt_id AND c.role = 'trajectory') AS k_total,
    coalesce((SELECT max(u.k_ok) FROM used u WHERE u.attempt_id = m.attempt_id), 0) AS k_ok,
    (SELECT max(u.written_ns) FROM used u WHERE u.attempt_id = m.attempt_id) / 1e6 AS drafts_ms,  -- all waves of them
    s.k_index AS slowest_k,
    s.e2e_ns / 1e6 AS slowest_e2e_ms,
    (s.e2e_ns - (SELECT avg(u.e2e_ns) FROM used u WHERE u.attempt_id = m.attempt_id
                 AND u.place IN ((u.k_ok + 1) / 2, (u.k_ok + 2) / 2))) / 1e6 AS straggler_ms,  -- slowest minus median
    g.e2e_ms AS aggregator_e2e_ms,
    m.e2e_ms - (SELECT max(u.written_ns) FROM used u WHERE u.attempt_id = m.attempt_id) / 1e6 - g.e2e_ms
        AS gap_ms,                                                   -- from the drafts' last text to the aggregator
    (SELECT 1.0 * sum(u.e2e_ns) / count(*) FROM used u WHERE u.attempt_id = m.attempt_id)
        / nullif(s.e2e_ns, 0) AS parallel_efficiency,                -- mean of the trajectories' times / the slowest
    m.output_tokens, m.aggregate_tps, m.token_amplification, m.cost_usd
FROM attempt_metrics m
LEFT JOIN heavy_runs r ON r.attempt_id = m.attempt_id
LEFT JOIN used s ON s.attempt_id = m.attempt_id AND s.place_from_end = 1
LEFT JOIN attempt_metrics g ON g.parent_id = m.attempt_id AND g.role = 'aggregator' AND g.status IN ('ok', 'length')
WHERE m.role = 'heavy';


-- What a turn's last vote says of each lane that had an answer then: win, tie, loss (another lane was called the best) or
-- all_bad. A lane that had failed or was not there yet takes no part. A vote on answers of two turns is one for that pair.
CREATE VIEW vote_outcomes AS
WITH last AS (SELECT turn_id, other_turn_id, max(number) AS vote FROM votes GROUP BY turn_id, other_turn_id)
SELECT
    v.vote_id, v.turn_id, v.other_turn_id, t.conversation_id, t.owner, v.voted_at_utc, v.blind, v.speed_visible,
    f.lane AS lane, v.lane AS best_lane,
    CASE WHEN v.choice <> 'lane' THEN v.choice WHEN f.lane = v.lane THEN 'win' ELSE 'loss' END AS outcome
FROM last
JOIN votes v ON v.number = last.vote
JOIN turns t ON t.turn_id = v.turn_id
JOIN vote_lanes f ON f.vote_id = v.vote_id
WHERE v.choice <> 'none';


-- Votes per lane; blind ones and open ones apart, since a known name or pace sways the verdict.
CREATE VIEW lane_votes AS
SELECT
    lane, blind, speed_visible, count(*) AS n_votes,
    count(*) FILTER (WHERE outcome = 'win') AS wins, count(*) FILTER (WHERE outcome = 'tie') AS ties,
    count(*) FILTER (WHERE outcome = 'loss') AS losses, count(*) FILTER (WHERE outcome = 'all_bad') AS all_bad
FROM vote_outcomes GROUP BY lane, blind, speed_visible;


-- One lane against another in a turn's last vote: win, tie or loss. The best lane won against each of the others, a tie
-- is a tie of all. Between two lanes neither of which was called the best nothing is said, so there is no row.
CREATE VIEW pair_outcomes AS
SELECT a.turn_id, a.conversation_id, a.owner, a.voted_at_utc, a.blind, a.speed_visible, a.lane, b.lane AS other, a.outcome
FROM vote_outcomes a JOIN vote_outcomes b ON b.vote_id = a.vote_id AND b.lane <> a.lane
WHERE a.outcome IN ('win', 'tie') OR b.outcome = 'win';


-- Votes per pair of lanes, blind ones and open ones apart; each pair both ways round.
CREATE VIEW vote_pairs AS
SELECT
    lane, other, blind, speed_visible, count(*) AS n_votes,
    count(*) FILTER (WHERE outcome = 'win') AS wins, count(*) FILTER (WHERE outcome = 'tie') AS ties,
    count(*) FILTER (WHERE outcome = 'loss') AS losses
FROM pair_outcomes GROUP BY lane, other, blind, speed_visible;


-- A planned item of a benchmark run and what came of it; warm-ups are not among them. outcome: the newest verdict, else
-- context (not sent: it does not fit) or not-run. A verdict on an attempt whose end was lost with its process is void.
CREATE VIEW bench_verdicts AS
SELECT
    i.run_id, i.position, i.case_id, i.category, i.template, i.lane, i.epoch,
    CASE WHEN v.number IS NOT NULL THEN v.verdict
         WHEN i.not_sent IS NOT NULL THEN 'context'
         ELSE 'not-run' END AS outcome,
    v.extracted, coalesce(v.reason, i.not_sent) AS reason,
    v.grader, v.grader_version, v.backend, v.level, v.graded_at_utc,
    v.attempt_id, a.turn_id
FROM benchmark_items i
-- Of a case of several turns, on the last turn it came to. A subquery, so that one item is read without all others.
LEFT JOIN benchmark_verdicts v ON v.number = (
    SELECT max(w.number)
    FROM turns f
    JOIN turns t ON t.conversation_id = f.conversation_id
    JOIN attempts b ON b.turn_id = t.turn_id AND b.parent_id IS NULL AND b.status NOT IN ('open', 'interrupted', 'stopped')
    JOIN benchmark_verdicts w ON w.attempt_id = b.attempt_id
    WHERE f.turn_id = i.turn_id)
LEFT JOIN attempts a ON a.attempt_id = v.attempt_id
WHERE i.warm_up = 0;


-- A run's lane and category in counts. What was not right is kept apart by its cause; n_planned is their sum.
CREATE VIEW bench_summary AS
SELECT
    run_id, lane, category, count(*) AS n_planned,
    count(*) FILTER (WHERE outcome IN ('right', 'wrong')) AS n_judged,
    count(*) FILTER (WHERE outcome = 'right') AS n_right,
    count(*) FILTER (WHERE outcome = 'wrong') AS n_wrong,
    count(*) FILTER (WHERE outcome = 'unparsed') AS n_unparsed,
    count(*) FILTER (WHERE outcome = 'truncated') AS n_truncated,
    count(*) FILTER (WHERE outcome = 'time_limit') AS n_time_limit,
    count(*) FILTER (WHERE outcome = 'refused-by-sandbox') AS n_refused,
    count(*) FILTER (WHERE outcome = 'endpoint') AS n_endpoint,
    count(*) FILTER (WHERE outcome = 'context') AS n_context,
    count(*) FILTER (WHERE outcome = 'not-run') AS n_not_run
FROM bench_verdicts GROUP BY run_id, lane, category;


-- A benchmark run: how much was planned and how much of it has an outcome.
CREATE VIEW bench_runs AS
SELECT
    b.id AS run_id, b.owner, b.started_at_utc, b.ended_at_utc, b.state, b.state_reason, b.size, b.suite_version, b.seed,
    b.epochs, b.budget_usd, b.app_version,
    (SELECT count(*) FROM benchmark_lanes l WHERE l.run_id = b.id) AS n_lanes,
    count(v.position) AS n_planned,
    count(v.position) FILTER (WHERE v.outcome <> 'not-run') AS n_done,
    count(v.position) FILTER (WHERE v.outcome = 'right') AS n_right
FROM benchmarks b LEFT JOIN bench_verdicts v ON v.run_id = b.id
GROUP BY b.id, b.owner, b.started_at_utc, b.ended_at_utc, b.state, b.state_reason, b.size, b.suite_version, b.seed,
         b.epochs, b.budget_usd, b.app_version;
