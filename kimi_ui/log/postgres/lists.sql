-- Lists that turns and votes hold as JSON, as rows: sqlite/lists.sql in PostgreSQL's words. Its text holds no NUL, not even
-- as an escape in JSON.


-- The lanes of a turn as they were when it was sent.
CREATE VIEW turn_lanes AS
SELECT
    t.turn_id,
    l.number - 1 AS place,                              -- from 0, as they stood side by side
    l.value ->> 'id' AS lane,
    l.value ->> 'label' AS label,
    l.value ->> 'provider' AS provider,
    l.value ->> 'model' AS model,
    l.value ->> 'stand_in_for' AS stand_in_for,
    nullif(l.value ->> 'of', '') AS made_of             -- the lane that heavy is made of
FROM turns t,
     json_array_elements(replace(t.lanes, '\u0000', '\ufffd')::json) WITH ORDINALITY AS l (value, number);


-- The lanes that had an answer when a vote was cast: only they were compared.
CREATE VIEW vote_lanes AS
SELECT v.vote_id, v.turn_id, l.number - 1 AS place, l.lane
FROM votes v, json_array_elements_text(replace(v.field, '\u0000', '\ufffd')::json) WITH ORDINALITY AS l (lane, number);
