-- Times are microseconds since the Unix epoch, UTC (BIGINT on both engines).
-- AUTOINCREMENT: the id of a deleted row is never given to another.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    username TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    disabled BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL
);

-- What others see of a user, with the denormalised counts of the profile page.
CREATE TABLE profiles (
    user_id BIGINT PRIMARY KEY NOT NULL REFERENCES users (id),
    nickname TEXT,
    avatar_url TEXT,
    followers_count BIGINT NOT NULL DEFAULT 0,
    followings_count BIGINT NOT NULL DEFAULT 0,
    tweets_count BIGINT NOT NULL DEFAULT 0
);

-- Only the SHA-256 of a token is stored. kind: 1 cookie session, 2 bearer token.
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    kind SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE friendships (
    from_user_id BIGINT NOT NULL,
    to_user_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (from_user_id, to_user_id)
) WITHOUT ROWID;
-- Fan-out walks an author's followers by id and reads nothing but this index.
CREATE INDEX friendships_fanout ON friendships (to_user_id, from_user_id, created_at);
CREATE INDEX friendships_followers ON friendships (to_user_id, created_at);
CREATE INDEX friendships_followings ON friendships (from_user_id, created_at);

-- Numbered pages of followers and followings: how many rows stand in each span of time,
-- so that page n is found by summing spans and not by walking n pages.
-- side: 1 followers of user_id, 2 followings of user_id.
CREATE TABLE follow_spans (
    user_id BIGINT NOT NULL,
    side SMALLINT NOT NULL,
    start_at BIGINT NOT NULL,
    added BIGINT NOT NULL,
    live BIGINT NOT NULL,
    PRIMARY KEY (user_id, side, start_at)
) WITHOUT ROWID;

-- delivered_at: when the last follower received it (NULL: still on its way).
-- deleted_at: a tombstone until the deletion has been carried out everywhere.
CREATE TABLE tweets (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    content TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    delivered_at BIGINT,
    deleted_at BIGINT
);
CREATE INDEX tweets_author ON tweets (user_id, created_at) WHERE deleted_at IS NULL;

CREATE TABLE tweet_photos (
    tweet_id BIGINT NOT NULL,
    position SMALLINT NOT NULL,
    url TEXT NOT NULL,
    PRIMARY KEY (tweet_id, position)
) WITHOUT ROWID;

-- The big one. created_at is unique per timeline and is the entry's id, so the
-- primary key is the only index; it leads with user_id (hash-partition on it later).
CREATE TABLE newsfeeds (
    user_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    tweet_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, created_at)
) WITHOUT ROWID;

CREATE TABLE comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    tweet_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    content TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX comments_tweet ON comments (tweet_id, created_at);

-- kind: 1 tweet, 2 comment.
CREATE TABLE likes (
    user_id BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    object_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, kind, object_id)
) WITHOUT ROWID;
CREATE INDEX likes_object ON likes (kind, object_id, created_at);

-- verb: 1 liked your tweet, 2 liked your comment, 3 commented on your tweet.
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    recipient_id BIGINT NOT NULL,
    actor_id BIGINT NOT NULL,
    verb SMALLINT NOT NULL,
    target_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    unread BOOLEAN NOT NULL DEFAULT TRUE
);
CREATE INDEX notifications_recipient ON notifications (recipient_id, id);
CREATE INDEX notifications_unread ON notifications (recipient_id, id) WHERE unread;

-- Written in the transaction of the like or comment; moved to notifications in the background.
CREATE TABLE notification_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    recipient_id BIGINT NOT NULL,
    actor_id BIGINT NOT NULL,
    verb SMALLINT NOT NULL,
    target_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Durable background work of the ordered writer (src/fanout). Rows with
-- finished_at NULL are open; progress moves in the transaction of each chunk.
CREATE TABLE fanout_tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind SMALLINT NOT NULL,
    tweet_id BIGINT NOT NULL DEFAULT 0,
    author_id BIGINT NOT NULL DEFAULT 0,
    reader_id BIGINT NOT NULL DEFAULT 0,
    progress BIGINT NOT NULL DEFAULT 0,
    until_key BIGINT NOT NULL DEFAULT 0,
    rows_done BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX fanout_tasks_open ON fanout_tasks (id) WHERE finished_at IS NULL;
CREATE INDEX fanout_tasks_tweet ON fanout_tasks (tweet_id, kind);
CREATE INDEX fanout_tasks_pair ON fanout_tasks (reader_id, author_id) WHERE finished_at IS NULL;
CREATE INDEX fanout_tasks_finished ON fanout_tasks (finished_at) WHERE finished_at IS NOT NULL;

-- The clock of the ordered writer: its row lock serialises the writers of all nodes.
CREATE TABLE timeline_clock (
    shard BIGINT PRIMARY KEY NOT NULL,
    last_at BIGINT NOT NULL
);
INSERT INTO timeline_clock (shard, last_at) VALUES (0, 0);

-- What is known of the Redis tier. Lists and counts written under another epoch are void;
-- dirty means that a commit may not have reached Redis yet.
CREATE TABLE cache_state (
    id BIGINT PRIMARY KEY NOT NULL,
    epoch BIGINT NOT NULL,
    dirty BOOLEAN NOT NULL
);
INSERT INTO cache_state (id, epoch, dirty) VALUES (0, 1, TRUE);

-- Answers kept for 24 h so that a retried POST gets the first one again.
CREATE TABLE idempotency_keys (
    user_id BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    response TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
