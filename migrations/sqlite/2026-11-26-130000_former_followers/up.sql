-- Who has unfollowed an author and kept the tweets (ROOST_REMOVE_ON_UNFOLLOW=off): a tweet that
-- is deleted later must leave these feeds, too.
CREATE TABLE former_followers (
    author_id BIGINT NOT NULL,
    reader_id BIGINT NOT NULL,
    PRIMARY KEY (author_id, reader_id)
) WITHOUT ROWID;
