//! Every operation of the API, as the OpenAPI document shows it.

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Whether a login is needed.
    pub(super) login: bool,
    /// Names of query parameters, described in `components`.
    pub(super) query: &'static [&'static str],
    /// Fields of the body: (name, type, required). Files make it a multipart body.
    pub(super) body: &'static [(&'static str, &'static str, bool)],
    pub(super) success: u16,
    /// The schema of the answer, in `components`.
    pub(super) answer: &'static str,
    /// Other statuses that it may answer with, beside those that all may.
    pub(super) errors: &'static [u16],
}

const CURSORS: &[&str] = &["created_at__lt", "created_at__gt", "page_size"];
const AUTHOR_CURSORS: &[&str] =
    &["user_id_required", "created_at__lt", "created_at__gt", "page_size"];
const FRIENDS: &[&str] = &["page", "size", "created_at__lt"];

macro_rules! operations {
    ($($method:ident $path:literal $summary:literal $login:ident [$query:expr] [$(($field:literal, $kind:literal, $required:literal)),*] => $success:literal $answer:literal [$($error:literal),*];)*) => {
        /// All of them.
        pub(super) const OPERATIONS: &[Operation] = &[$(Operation {
            method: stringify!($method),
            path: $path,
            summary: $summary,
            login: operations!(@ $login),
            query: $query,
            body: &[$(($field, $kind, $required)),*],
            success: $success,
            answer: $answer,
            errors: &[$($error),*],
        }),*];
    };
    (@ login) => { true };
    (@ open) => { false };
}

operations! {
    post "/api/accounts/signup/" "Sign up and log in" open [&[]] [("username", "string", true), ("email", "string", true), ("password", "string", true)] => 201 "LoggedIn" [400];
    post "/api/accounts/login/" "Log in" open [&[]] [("username", "string", true), ("password", "string", true)] => 200 "LoggedIn" [400];
    post "/api/accounts/logout/" "Log out: this session ends" open [&[]] [] => 200 "Success" [];
    get "/api/accounts/login_status/" "Who am I" open [&[]] [] => 200 "LoginStatus" [];
    post "/api/accounts/token/" "Get a bearer token" open [&[]] [("username", "string", true), ("password", "string", true)] => 201 "Token" [400];
    delete "/api/accounts/token/" "Revoke this token, or all of the user's" login [&[]] [] => 200 "Success" [];
    get "/api/profiles/" "Find a profile by user name" open [&["username"]] [] => 200 "Profile" [400, 404];
    get "/api/profiles/{user_id}/" "A profile with its counts" open [&[]] [] => 200 "Profile" [404];
    put "/api/profiles/{user_id}/" "Change one's own profile" login [&[]] [("nickname", "string", false), ("avatar", "file", false)] => 200 "ProfileChange" [400, 404];
    patch "/api/profiles/{user_id}/" "Change one's own profile" login [&[]] [("nickname", "string", false), ("avatar", "file", false)] => 200 "ProfileChange" [400, 404];
    get "/api/tweets/" "What a user has posted, newest first" open [AUTHOR_CURSORS] [] => 200 "TweetPage" [400];
    post "/api/tweets/" "Post a tweet, with at most 9 photos" login [&["Idempotency-Key"]] [("content", "string", true), ("files", "files", false)] => 201 "Tweet" [400, 409];
    get "/api/tweets/{id}/" "A tweet with comments and likes" open [&[]] [] => 200 "TweetDetail" [404];
    delete "/api/tweets/{id}/" "Delete one's own tweet" login [&[]] [] => 200 "Success" [404];
    get "/api/newsfeeds/" "The home timeline, newest first" login [CURSORS] [] => 200 "FeedPage" [400];
    get "/api/newsfeeds/stream/" "New feed entries as server-sent events" login [&["Last-Event-ID"]] [] => 200 "EventStream" [400];
    post "/api/friendships/{user_id}/follow/" "Follow a user" login [&[]] [] => 201 "Followed" [400, 404];
    post "/api/friendships/{user_id}/unfollow/" "Unfollow a user" login [&[]] [] => 200 "Deleted" [400, 404];
    get "/api/friendships/{user_id}/followers/" "Followers, newest first" open [FRIENDS] [] => 200 "FriendPage" [400, 404];
    get "/api/friendships/{user_id}/followings/" "Whom the user follows, newest first" open [FRIENDS] [] => 200 "FriendPage" [400, 404];
    get "/api/comments/" "Comments of a tweet, oldest first, 100 a page" open [&["tweet_id_required", "created_at__gt", "page_size"]] [] => 200 "CommentPage" [400];
    post "/api/comments/" "Comment on a tweet" login [&["Idempotency-Key"]] [("tweet_id", "integer", true), ("content", "string", true)] => 201 "Comment" [400, 409];
    put "/api/comments/{id}/" "Edit one's own comment" login [&[]] [("content", "string", true)] => 200 "Comment" [400, 404];
    delete "/api/comments/{id}/" "Delete one's own comment" login [&[]] [] => 200 "Success" [404];
    post "/api/likes/" "Like a tweet or a comment" login [&[]] [("content_type", "kind", true), ("object_id", "integer", true)] => 201 "Like" [400];
    post "/api/likes/cancel/" "Take a like back" login [&[]] [("content_type", "kind", true), ("object_id", "integer", true)] => 200 "Deleted" [400];
    get "/api/notifications/" "Notifications, newest first, 10 a page" login [&["unread", "page"]] [] => 200 "NotificationPage" [400, 404];
    get "/api/notifications/unread-count/" "How many are unread" login [&[]] [] => 200 "UnreadCount" [];
    post "/api/notifications/mark-all-as-read/" "Mark all as read" login [&[]] [] => 200 "MarkedCount" [];
    put "/api/notifications/{id}/" "Mark one as read or unread" login [&[]] [("unread", "boolean", true)] => 200 "Notification" [400, 404];
    get "/api/schema/" "This document" open [&[]] [] => 200 "Document" [];
    get "/api/docs/" "A page that shows this document" open [&[]] [] => 200 "Page" [];
    get "/api/docs/docs.js" "Its script" open [&[]] [] => 200 "Text" [];
    get "/api/docs/docs.css" "Its looks" open [&[]] [] => 200 "Text" [];
    get "/media/{random}/{name}" "A photo or avatar" open [&[]] [] => 200 "Photo" [404];
    get "/healthz" "Whether the process is alive" open [&[]] [] => 200 "Text" [];
    get "/readyz" "Whether it can serve" open [&[]] [] => 200 "Text" [];
    get "/metrics" "Prometheus metrics" open [&[]] [] => 200 "Text" [];
}
