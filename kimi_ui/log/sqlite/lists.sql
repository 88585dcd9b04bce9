-- Lists that turns and votes hold as JSON, as rows. The only views that PostgreSQL needs in words of its own.


-- The lanes of a turn as they were when it was sent.
CREATE VIEW turn_lanes AS
SELECT
    t.turn_id,
    l.key AS place,                                     -- from 0, as they stood side by side
    json_extract(l.value, '$.id') AS lane,
    json_extract(l.value, '$.label') AS label,
    json_extract(l.value, '$.provider') AS provider,
    json_extract(l.value, '$.model') AS model,
    json_extract(l.value, '$.stand_in_for') AS stand_in_for,
    nullif(json_extract(l.value, '$.of'), '') AS made_of  -- the lane that heavy is made of
FROM turns t, json_each(t.lanes) l;


-- The lanes that had an answer when a vote was cast: only they were compared.
CREATE VIEW vote_lanes AS
SELECT v.vote_id, v.turn_id, l.key AS place, l.value AS lane FROM votes v, json_each(v.field) l;
