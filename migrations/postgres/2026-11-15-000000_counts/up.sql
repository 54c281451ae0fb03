-- Denormalised counts. Nullable and without a default, so that a large live table is not
-- rewritten and new code can run beside old rows: NULL means "not counted yet".
-- The tasks added below (kinds 4 and 5) count the old rows in bounded steps.
ALTER TABLE tweets ADD COLUMN likes_count BIGINT;
ALTER TABLE tweets ADD COLUMN comments_count BIGINT;
ALTER TABLE tweets ADD COLUMN counts_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE comments ADD COLUMN likes_count BIGINT;
ALTER TABLE comments ADD COLUMN counts_version BIGINT NOT NULL DEFAULT 0;

INSERT INTO fanout_tasks (kind, until_key, created_at)
SELECT 4, max(id), 0 FROM tweets HAVING max(id) IS NOT NULL;
INSERT INTO fanout_tasks (kind, until_key, created_at)
SELECT 5, max(id), 0 FROM comments HAVING max(id) IS NOT NULL;
