DROP TABLE feed_trims;
DROP INDEX fanout_tasks_reader;
DROP INDEX fanout_tasks_retry;
ALTER TABLE fanout_tasks DROP COLUMN work_us;
ALTER TABLE fanout_tasks DROP COLUMN last_error;
ALTER TABLE fanout_tasks DROP COLUMN retry_at;
ALTER TABLE fanout_tasks DROP COLUMN attempts;
