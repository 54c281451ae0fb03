-- The processes that serve from this database, and which of them may have left commits behind
-- that Redis has not followed. Node 0 stands for a process without a name: the one on SQLite,
-- and whoever ran before this table was there.
CREATE TABLE nodes (
    id BIGINT PRIMARY KEY,
    dirty BOOLEAN NOT NULL
);
INSERT INTO nodes (id, dirty) SELECT 0, dirty FROM cache_state;
ALTER TABLE cache_state DROP COLUMN dirty;
