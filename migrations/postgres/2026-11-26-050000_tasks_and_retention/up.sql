-- A task whose step fails is set back: attempts and last_error say how often and why, retry_at
-- when it is tried again (NULL: in the rotation). work_us: time spent in its steps.
ALTER TABLE fanout_tasks ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE fanout_tasks ADD COLUMN retry_at BIGINT;
ALTER TABLE fanout_tasks ADD COLUMN last_error TEXT;
ALTER TABLE fanout_tasks ADD COLUMN work_us BIGINT NOT NULL DEFAULT 0;
CREATE INDEX fanout_tasks_retry ON fanout_tasks (retry_at)
    WHERE finished_at IS NULL AND retry_at IS NOT NULL;
-- What was done for a reader and an author, also when it is finished (`roost why`).
CREATE INDEX fanout_tasks_reader ON fanout_tasks (reader_id, author_id) WHERE reader_id <> 0;

-- Feeds that retention has trimmed: entries older than `below` may have been taken out.
CREATE TABLE feed_trims (
    user_id BIGINT PRIMARY KEY,
    below BIGINT NOT NULL,
    trimmed_at BIGINT NOT NULL
);
