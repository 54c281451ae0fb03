//! Tests of request bodies.
