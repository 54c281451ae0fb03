//! The tables, as both engines have them. What the columns mean stands in the migrations.

diesel::table! {
    users (id) {
        id -> BigInt,
        username -> Text,
        email -> Text,
        password_hash -> Text,
        disabled -> Bool,
        created_at -> BigInt,
    }
}

diesel::table! {
    profiles (user_id) {
        user_id -> BigInt,
        nickname -> Nullable<Text>,
        avatar_url -> Nullable<Text>,
        followers_count -> BigInt,
        followings_count -> BigInt,
        tweets_count -> BigInt,
    }
}

diesel::table! {
    sessions (token_hash) {
        token_hash -> Binary,
        user_id -> BigInt,
        kind -> SmallInt,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    friendships (from_user_id, to_user_id) {
        from_user_id -> BigInt,
        to_user_id -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    former_followers (author_id, reader_id) {
        author_id -> BigInt,
        reader_id -> BigInt,
    }
}

diesel::table! {
    follow_spans (user_id, side, start_at) {
        user_id -> BigInt,
        side -> SmallInt,
        start_at -> BigInt,
        added -> BigInt,
        live -> BigInt,
    }
}

diesel::table! {
    tweets (id) {
        id -> BigInt,
        user_id -> BigInt,
        content -> Text,
        created_at -> BigInt,
        delivered_at -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        likes_count -> Nullable<BigInt>,
        comments_count -> Nullable<BigInt>,
        counts_version -> BigInt,
    }
}

diesel::table! {
    tweet_photos (tweet_id, position) {
        tweet_id -> BigInt,
        position -> SmallInt,
        url -> Text,
    }
}

diesel::table! {
    newsfeeds (user_id, created_at) {
        user_id -> BigInt,
        created_at -> BigInt,
        tweet_id -> BigInt,
    }
}

diesel::table! {
    comments (id) {
        id -> BigInt,
        tweet_id -> BigInt,
        user_id -> BigInt,
        content -> Text,
        created_at -> BigInt,
        likes_count -> Nullable<BigInt>,
        counts_version -> BigInt,
    }
}

diesel::table! {
    likes (user_id, kind, object_id) {
        user_id -> BigInt,
        kind -> SmallInt,
        object_id -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    notifications (id) {
        id -> BigInt,
        recipient_id -> BigInt,
        actor_id -> BigInt,
        verb -> SmallInt,
        target_id -> BigInt,
        created_at -> BigInt,
        unread -> Bool,
    }
}

diesel::table! {
    notification_outbox (id) {
        id -> BigInt,
        recipient_id -> BigInt,
        actor_id -> BigInt,
        verb -> SmallInt,
        target_id -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    fanout_tasks (id) {
        id -> BigInt,
        kind -> SmallInt,
        tweet_id -> BigInt,
        author_id -> BigInt,
        reader_id -> BigInt,
        progress -> BigInt,
        until_key -> BigInt,
        rows_done -> BigInt,
        created_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        attempts -> BigInt,
        retry_at -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        work_us -> BigInt,
    }
}

diesel::table! {
    feed_trims (user_id) {
        user_id -> BigInt,
        below -> BigInt,
        trimmed_at -> BigInt,
    }
}

diesel::table! {
    timeline_clock (shard) {
        shard -> BigInt,
        last_at -> BigInt,
    }
}

diesel::table! {
    cache_state (id) {
        id -> BigInt,
        epoch -> BigInt,
    }
}

diesel::table! {
    nodes (id) {
        id -> BigInt,
        dirty -> Bool,
    }
}

diesel::table! {
    idempotency_keys (user_id, idempotency_key) {
        user_id -> BigInt,
        idempotency_key -> Text,
        fingerprint -> Binary,
        response -> Text,
        created_at -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    users,
    profiles,
    sessions,
    friendships,
    former_followers,
    follow_spans,
    tweets,
    tweet_photos,
    newsfeeds,
    comments,
    likes,
    notifications,
    notification_outbox,
    fanout_tasks,
    feed_trims,
    timeline_clock,
    cache_state,
    nodes,
    idempotency_keys,
);
