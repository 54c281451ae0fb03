DELETE FROM fanout_tasks WHERE kind IN (4, 5);
ALTER TABLE comments DROP COLUMN counts_version;
ALTER TABLE comments DROP COLUMN likes_count;
ALTER TABLE tweets DROP COLUMN counts_version;
ALTER TABLE tweets DROP COLUMN comments_count;
ALTER TABLE tweets DROP COLUMN likes_count;
